import type { PropertyType, Resource as Described, SpecDatabase } from '@aws-cdk/service-spec-types';
import { loadAwsServiceSpecSync } from '@aws-cdk/aws-service-spec';
import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { queues, streams } from '../../core/flow.ts';
import { functionSeconds } from '../../handlers/functions.ts';
import { isCurrent, rolesOf, rows } from '../../serverless/lambda.ts';

/**
 * THE STACK that `sls package -c serverless.aws.yml` writes, read without the cloud: held against the shapes of resources that AWS gives out for CloudFormation, against itself
 * (every reference), and against the flow. What only the cloud can say, it alone can say.
 */
const root = fileURLToPath(new URL('../..', import.meta.url));

interface Resource {
  readonly Type: string;
  readonly Properties: Record<string, unknown>;
  readonly DependsOn?: string | readonly string[];
  readonly DeletionPolicy?: string;
}
interface Stack {
  readonly Parameters: Readonly<Record<string, { readonly NoEcho?: boolean; readonly Default?: unknown }>>;
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs: Readonly<Record<string, { readonly Value: unknown }>>;
}

describe('the stack of AWS', function () {
  this.timeout(120_000);
  let folder: string;
  let stack: Stack;
  let spec: SpecDatabase;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'anyport-aws-'));
    // Nobody has credentials here, and nobody is asked for them.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(AWS_|ADMIN_TOKEN|DEMO_CARRIER_SECRET)/.test(name)));
    await new Promise<void>((resolve, reject) => {
      execFile(process.execPath, [join(root, 'node_modules/.bin/sls'), 'package', '-c', 'serverless.aws.yml', '--package', folder], { cwd: root, env: { ...env, HOME: folder, AWS_EC2_METADATA_DISABLED: 'true' } }, (error, out, err) => (error ? reject(new Error(out + err)) : resolve()));
    });
    stack = JSON.parse(readFileSync(join(folder, 'cloudformation-template-update-stack.json'), 'utf8')) as Stack;
    spec = loadAwsServiceSpecSync();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const ofType = (type: string): [string, Resource][] => Object.entries(stack.Resources).filter(([, { Type }]) => Type === type);
  const described = (type: string): Described => spec.lookup('resource', 'cloudFormationType', 'equals', type).only();

  it('is what the flow says, and stays well below what a stack may have', () => {
    expect(isCurrent(), 'npm run generate writes serverless.aws.yml anew').to.equal(true);
    expect(ofType('AWS::Lambda::Function').map(([, { Properties }]) => Properties['Handler']).sort()).to.deep.equal(rows.map(({ name }) => `index.${name}`).sort());
    expect(Object.keys(stack.Resources).length).to.be.below(450);
  });

  it('has no property that AWS does not describe, none of another type, and lacks none that is required', () => {
    const wrong = Object.entries(stack.Resources).flatMap(([id, { Type, Properties }]) => {
      const { properties } = described(Type);
      const unknown = Object.keys(Properties).filter((name) => !properties[name]).map((name) => `${id}.${name} is not known`);
      const missing = Object.entries(properties).filter(([name, { required }]) => required && Properties[name] === undefined).map(([name]) => `${id}.${name} is required`);
      const bad = Object.entries(Properties).flatMap(([name, value]) => (properties[name] ? faults(`${id}.${name}`, value, properties[name].type) : []));
      return [...unknown, ...missing, ...bad];
    });
    expect(wrong).to.deep.equal([]);
  });

  /** What is wrong with a value. What is only known in the cloud may be anything. */
  function faults(where: string, value: unknown, type: PropertyType): string[] {
    if (isIntrinsic(value)) return [];
    switch (type.type) {
      case 'string':
        return typeof value === 'string' || typeof value === 'number' ? [] : [`${where} is no text`];
      case 'integer':
        return Number.isInteger(Number(value)) ? [] : [`${where} is no whole number`];
      case 'number':
        return Number.isFinite(Number(value)) ? [] : [`${where} is no number`];
      case 'boolean':
        return typeof value === 'boolean' || value === 'true' || value === 'false' ? [] : [`${where} is neither true nor false`];
      case 'array':
        return Array.isArray(value) ? value.flatMap((each, nth) => faults(`${where}[${nth}]`, each, type.element)) : [`${where} is no list`];
      case 'map':
        return isRecord(value) ? Object.entries(value).flatMap(([name, each]) => faults(`${where}.${name}`, each, type.element)) : [`${where} is no map`];
      case 'ref': {
        const { properties } = spec.get('typeDefinition', type.reference.$ref);
        if (!isRecord(value)) return [`${where} is no object`];
        const missing = Object.entries(properties).filter(([name, { required }]) => required && value[name] === undefined).map(([name]) => `${where}.${name} is required`);
        return [...missing, ...Object.entries(value).flatMap(([name, each]) => (properties[name] ? faults(`${where}.${name}`, each, properties[name].type) : [`${where}.${name} is not known`]))];
      }
      case 'union': {
        const all = type.types.map((each) => faults(where, value, each));
        return all.some((some) => some.length === 0) ? [] : all[0]!;
      }
      default:
        return [];
    }
  }

  it('refers to nothing that is not there', () => {
    const pseudo = ['AWS::Region', 'AWS::AccountId', 'AWS::Partition', 'AWS::URLSuffix', 'AWS::StackName', 'AWS::StackId', 'AWS::NoValue'];
    const names = new Set([...Object.keys(stack.Resources), ...Object.keys(stack.Parameters), ...pseudo]);
    const attributes = (id: string): string[] => Object.keys(described(stack.Resources[id]!.Type).attributes);
    const lost: string[] = [];
    const look = (where: string, value: unknown): void => {
      if (Array.isArray(value)) return value.forEach((each, nth) => look(`${where}[${nth}]`, each));
      if (!isRecord(value)) return;
      if (typeof value['Ref'] === 'string' && !names.has(value['Ref'])) lost.push(`${where}: ${value['Ref']}`);
      const [id, attribute] = (value['Fn::GetAtt'] ?? []) as string[];
      if (id !== undefined && (!stack.Resources[id] || !attributes(id).includes(attribute!))) lost.push(`${where}: ${id}.${attribute}`);
      const said = value['Fn::Sub'];
      if (typeof said === 'string') for (const [, name] of said.matchAll(/\$\{([^}!]+)\}/g)) if (!names.has(name!)) lost.push(`${where}: ${name}`);
      for (const [name, each] of Object.entries(value)) look(`${where}.${name}`, each);
    };
    for (const [id, resource] of Object.entries(stack.Resources)) {
      look(id, resource.Properties);
      for (const other of [resource.DependsOn ?? []].flat()) if (!stack.Resources[other]) lost.push(`${id} depends on ${other}`);
    }
    look('Outputs', stack.Outputs);
    expect(lost).to.deep.equal([]);
  });

  it('gives no right to everything, and to nobody more than one reason', () => {
    const statements = ofType('AWS::IAM::Role').flatMap(([id, { Properties }]) =>
      (Properties['Policies'] as { PolicyDocument: { Statement: { Effect: string; Action: string[]; Resource: unknown[] }[] } }[]).flatMap(({ PolicyDocument }) => PolicyDocument.Statement.map((statement) => ({ id, ...statement }))),
    );
    expect(statements.length).to.be.greaterThan(50);
    for (const { id, Effect, Action, Resource } of statements) {
      expect(Effect).to.equal('Allow');
      expect(Action.filter((action) => action.includes('*')), id).to.deep.equal([]);
      expect(JSON.stringify(Resource), id).not.to.include('*');
    }
    const roleOf = (name: string): string => (stack.Resources[`${name[0]!.toUpperCase()}${name.slice(1)}LambdaFunction`]!.Properties['Role'] as { 'Fn::GetAtt': string[] })['Fn::GetAtt'][0]!;
    for (const { id, functions } of rolesOf()) for (const name of functions) expect(roleOf(name), name).to.equal(id);
    const may = (name: string): string => JSON.stringify(stack.Resources[roleOf(name)]!.Properties);
    expect(may('listProducts'), 'who looks does not write').not.to.match(/DeleteItem|SendMessage|PutRecords|SendEmail/);
    expect(may('listProducts'), 'but for the one row that the first process makes').to.match(/"dynamodb:PutItem"\],"Resource":\[[^\]]*\]\}\],"Condition":\{"ForAllValues:StringEquals":\{"dynamodb:LeadingKeys":\["meta~00"\]\}\}/);
    expect(may('placeOrder')).to.match(/PutItem/).and.to.match(/QueueReserveStock/).and.to.match(/StreamOrders/).and.not.to.match(/SendEmail|GetRecords|ReceiveMessage/);
    expect(may('notificationOnOrders')).to.match(/SendEmail/).and.not.to.match(/PutRecords|SendMessage/);
  });

  it('holds no secret, and asks for those that it needs', () => {
    for (const name of ['AdminToken', 'DemoCarrierSecret']) expect(stack.Parameters[name], name).to.include({ NoEcho: true }).and.not.to.have.property('Default');
    for (const [id, { Properties }] of ofType('AWS::Lambda::Function')) {
      const { Variables } = Properties['Environment'] as { Variables: Record<string, unknown> };
      expect(Variables['ADMIN_TOKEN'], id).to.deep.equal({ Ref: 'AdminToken' });
      expect(Object.keys(Variables).filter((name) => /^AWS_(REGION|DEFAULT_REGION|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|LAMBDA_.*|EXECUTION_ENV)$/.test(name)), 'names that Lambda keeps for itself').to.deep.equal([]);
    }
  });

  it('has each queue with a dead-letter queue, each stream, and the table, encrypted and kept', () => {
    for (const queue of queues) {
      const [, { Properties }] = ofType('AWS::SQS::Queue').find(([, each]) => each.Properties['QueueName'] === `anyport-prod-${queue}`)!;
      const { deadLetterTargetArn, maxReceiveCount } = Properties['RedrivePolicy'] as { deadLetterTargetArn: { 'Fn::GetAtt': string[] }; maxReceiveCount: number };
      expect(maxReceiveCount).to.equal(100);
      expect(stack.Resources[deadLetterTargetArn['Fn::GetAtt'][0]!]!.Properties['QueueName']).to.equal(`anyport-prod-${queue}-dead`);
      expect(Properties['VisibilityTimeout'], 'six times what a function may take').to.be.at.least(6 * functionSeconds);
    }
    for (const [, { Properties }] of ofType('AWS::SQS::Queue')) expect(Properties).to.include({ SqsManagedSseEnabled: true, MessageRetentionPeriod: 1_209_600 });
    expect(ofType('AWS::Kinesis::Stream').map(([, { Properties }]) => Properties['Name']).sort()).to.deep.equal(streams.map((name) => `anyport-prod-${name}`).sort());
    for (const [, { Properties }] of ofType('AWS::Kinesis::Stream')) {
      expect(Properties['RetentionPeriodHours']).to.equal(168);
      expect(Properties['StreamEncryption']).to.include({ EncryptionType: 'KMS' });
    }
    const [[, table]] = ofType('AWS::DynamoDB::Table') as [[string, Resource]];
    expect(table.DeletionPolicy).to.equal('Retain');
    expect(table.Properties).to.deep.include({ BillingMode: 'PAY_PER_REQUEST', DeletionProtectionEnabled: true, PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true } });
  });

  it('hands batches out again without end, part by part, and in the order of their keys', () => {
    const sources = ofType('AWS::Lambda::EventSourceMapping').map(([, { Properties }]) => Properties);
    expect(sources).to.have.length(rows.filter(({ kind }) => kind === 'queue' || kind === 'stream').length);
    for (const source of sources) expect(source['FunctionResponseTypes']).to.deep.equal(['ReportBatchItemFailures']);
    const ofStreams = sources.filter(({ StartingPosition }) => StartingPosition !== undefined);
    for (const source of ofStreams) expect(source).to.include({ StartingPosition: 'TRIM_HORIZON', ParallelizationFactor: 1, MaximumRetryAttempts: -1, MaximumRecordAgeInSeconds: -1, BisectBatchOnFunctionError: true });
    expect(ofStreams).to.have.length(rows.filter(({ kind }) => kind === 'stream').length);
  });

  it('keeps logs for a month, raises an alarm for what lies dead and for what falls behind, and routes every door', () => {
    for (const [, { Properties }] of ofType('AWS::Logs::LogGroup')) expect(Properties['RetentionInDays']).to.equal(30);
    const alarms = ofType('AWS::CloudWatch::Alarm').map(([, { Properties }]) => Properties);
    expect(alarms).to.have.length(2 * queues.length + streams.length);
    for (const each of alarms) expect(each['AlarmActions']).to.deep.equal([{ Ref: 'Alarms' }]);
    const routes = ofType('AWS::ApiGatewayV2::Route').map(([, { Properties }]) => Properties['RouteKey']);
    expect(routes).to.include.members(['$default', 'GET /', 'POST /api/orders', 'POST /api/carriers/{carrier}/notices']);
    expect(routes).to.have.length(rows.filter(({ kind }) => kind === 'http').length);
    expect(ofType('AWS::Events::Rule')).to.have.length(rows.filter(({ kind }) => kind === 'timer').length);
  });
});

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const isIntrinsic = (value: unknown): boolean => isRecord(value) && Object.keys(value).length === 1 && /^(Ref|Fn::.+)$/.test(Object.keys(value)[0]!);
