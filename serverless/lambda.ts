import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { tableOf } from '../adapters/aws/table.ts';
import { clocks, collections, doors, events, queues, streams, subscriptions, type ClockRow, type ServiceName } from '../core/flow.ts';
import { functionSeconds, functions, type FunctionRow } from '../handlers/functions.ts';
import { partitionsOf, type Road } from '../ports/index.ts';

/**
 * `serverless.aws.yml`, made of the flow: `npm run generate` writes it; a test says when it is no longer what the flow says. osls makes CloudFormation of it.
 *
 * A function for each row of the list, but for the pages of the console, which people open seldom: API Gateway hands them to `anythingElse` with all else that has no
 * route, HEAD included. So the stack stays below the 500 resources that one may have (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html).
 */
export const file = fileURLToPath(new URL('../serverless.aws.yml', import.meta.url));

export const rows: readonly FunctionRow[] = functions.filter((row) => row.kind !== 'http' || row.door === undefined || doors[row.door].service !== 'console');

// ---------------------------------------------------------------- names

const pascal = (name: string): string => name.split('-').map((word) => word[0]!.toUpperCase() + word.slice(1)).join('');
const queueId = (queue: string): string => `Queue${pascal(queue)}`;
const deadId = (queue: string): string => `${queueId(queue)}Dead`;
const streamId = (stream: string): string => `Stream${pascal(stream)}`;
/** As osls calls what it makes for a function (lib/plugins/aws/lib/naming.js). */
const logGroupId = (name: string): string => `${pascal(name)}LogGroup`;
const prefix = '${self:custom.prefix}';
const arn = (id: string) => ({ 'Fn::GetAtt': [id, 'Arn'] });
const ref = (id: string) => ({ Ref: id });
const sub = (text: string) => ({ 'Fn::Sub': text });

// ---------------------------------------------------------------- what a function may do

/** One right, as `what:channel`. */
type Right = 'look' | 'write' | 'mail' | `${'send' | 'receive' | 'drain' | 'append' | 'follow'}:${string}`;

const every: readonly Right[] = ['look', 'write', 'mail', ...queues.map((queue): Right => `send:${queue}`), ...streams.flatMap((stream): Right[] => [`append:${stream}`, `follow:${stream}`])];

/** What a service needs to pass on what it has said, and to try a message of its own queue again later. */
function voiceOf(service: ServiceName): Right[] {
  const roads = Object.values(events).filter(({ from }) => from === service).flatMap(({ travels }): readonly Road[] => travels);
  return [...new Set(roads.map(({ kind, channel }): Right => (kind === 'queue' ? `send:${channel}` : `append:${channel}`)))];
}

/** The ports that a function uses, read off the flow. */
export function rightsOf(row: FunctionRow): readonly Right[] {
  switch (row.kind) {
    case 'http':
      return ofDoor(row);
    case 'queue':
      return ['look', 'write', `receive:${row.queue}`, `send:${row.queue}`, ...voiceOf(row.service)];
    case 'stream':
      return ['look', 'write', `follow:${row.stream}`, ...voiceOf(row.service), ...letters(row.service)];
    case 'timer':
      return ofTimer(row);
  }
}

const polledBy = (service: ServiceName): Right[] => subscriptions.filter((each) => each.polled && each.service === service).map(({ channel }): Right => `follow:${channel}`);
const letters = (service: string): Right[] => (service === 'notification' ? ['mail'] : []);

function ofDoor({ door }: Extract<FunctionRow, { kind: 'http' }>): readonly Right[] {
  if (door === undefined) return every;
  const { service, method } = doors[door];
  // The desk tries again whatever anybody could not do, and looks how far everybody has read.
  if (service === 'operations' || service === 'console') return every;
  if (method === 'GET') return ['look'];
  // The shop's pages place and cancel orders in the name of Order.
  return ['look', 'write', ...voiceOf(service === 'website' ? 'order' : service), ...letters(service)];
}

function ofTimer({ name }: Extract<FunctionRow, { kind: 'timer' }>): readonly Right[] {
  const voices = queues.map((queue): Right => `send:${queue}`).concat(streams.map((stream): Right => `append:${stream}`));
  switch (name) {
    case 'sweepOutbox':
      return ['look', 'write', ...voices];
    case 'doChores':
      // Whoever opens the shop looks at what the deployment says of itself.
      return ['look', ...queues.flatMap((queue): Right[] => [`send:${queue}`, `drain:${queue}`])];
    case 'forgetSeen':
    case 'demoCarrier':
      return ['look', 'write'];
    case 'retryParked':
    case 'catchUp':
      return every;
    default: {
      // The website has Product say all again when it has lost its place.
      const { service }: ClockRow = clocks[name];
      return ['look', 'write', ...polledBy(service), ...voiceOf(service === 'website' ? 'product' : service), ...letters(service)];
    }
  }
}

interface Statement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: readonly object[];
  readonly Condition?: object;
}
const allow = (Action: readonly string[], Resource: readonly object[], Condition?: object): Statement[] => (Resource.length === 0 ? [] : [{ Effect: 'Allow', Action, Resource, ...(Condition ? { Condition } : {}) }]);
/** Where the one row is that the first process of a deployment makes (core/kernel/deployment.ts). */
const onlyMeta = { 'ForAllValues:StringEquals': { 'dynamodb:LeadingKeys': partitionsOf(collections.meta) } };

/** Each action of the adapters, and what Lambda itself asks for in our name; no wildcard. */
function statementsOf(rights: readonly Right[]): Statement[] {
  const of = (what: string): string[] => rights.filter((right) => right.startsWith(`${what}:`)).map((right) => right.slice(what.length + 1));
  return [
    ...allow(['dynamodb:GetItem', 'dynamodb:Query'], rights.includes('look') ? [arn('Table')] : []),
    ...(rights.includes('write') ? allow(['dynamodb:PutItem', 'dynamodb:DeleteItem'], [arn('Table')]) : allow(['dynamodb:PutItem'], rights.includes('look') ? [arn('Table')] : [], onlyMeta)),
    ...allow(['sqs:GetQueueUrl', 'sqs:SendMessage'], of('send').map((queue) => arn(queueId(queue)))),
    ...allow(['sqs:GetQueueAttributes', 'sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility'], of('receive').map((queue) => arn(queueId(queue)))),
    ...allow(['sqs:GetQueueAttributes'], of('drain').map((queue) => arn(queueId(queue)))),
    ...allow(['sqs:GetQueueUrl', 'sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility'], of('drain').map((queue) => arn(deadId(queue)))),
    ...allow(['kinesis:PutRecords'], of('append').map((stream) => arn(streamId(stream)))),
    ...allow(['kinesis:DescribeStream', 'kinesis:DescribeStreamSummary', 'kinesis:ListShards', 'kinesis:GetShardIterator', 'kinesis:GetRecords'], of('follow').map((stream) => arn(streamId(stream)))),
    ...allow(['ses:SendEmail'], rights.includes('mail') ? [sub('arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:identity/${EmailFrom}')] : []),
  ];
}

interface Role {
  readonly id: string;
  readonly rights: readonly Right[];
  readonly functions: readonly string[];
}

/** Functions that use the same ports have one role. It is called after the first of them. */
export function rolesOf(list: readonly FunctionRow[] = rows): readonly Role[] {
  const roles = new Map<string, { id: string; rights: readonly Right[]; functions: string[] }>();
  for (const row of list) {
    const rights = [...new Set(rightsOf(row))].sort();
    const role = roles.get(rights.join(' ')) ?? { id: `Role${pascal(row.name)}`, rights, functions: [] };
    role.functions.push(row.name);
    roles.set(rights.join(' '), role);
  }
  return [...roles.values()];
}

// ---------------------------------------------------------------- resources

/** Receives of SQS; a net under the kernel's own maximum, which is lower. */
const receivesMax = 100;
const dayseconds = 86_400;
type Resources = Record<string, { readonly Type: string; readonly Properties: object; readonly DeletionPolicy?: string; readonly UpdateReplacePolicy?: string }>;

function queueResources(queue: string): Resources {
  const common = { SqsManagedSseEnabled: true, MessageRetentionPeriod: 14 * dayseconds };
  return {
    [queueId(queue)]: {
      Type: 'AWS::SQS::Queue',
      Properties: {
        QueueName: `${prefix}-${queue}`, ...common,
        // Six times as long as a function may take, as Lambda wants it (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
        VisibilityTimeout: 6 * functionSeconds, RedrivePolicy: { deadLetterTargetArn: arn(deadId(queue)), maxReceiveCount: receivesMax },
      },
    },
    [deadId(queue)]: { Type: 'AWS::SQS::Queue', Properties: { QueueName: `${prefix}-${queue}-dead`, ...common } },
    [`Alarm${pascal(queue)}Dead`]: alarm(`${queue}: messages that the queue itself has put aside`, {
      Namespace: 'AWS/SQS', MetricName: 'ApproximateNumberOfMessagesVisible', Dimensions: [{ Name: 'QueueName', Value: { 'Fn::GetAtt': [deadId(queue), 'QueueName'] } }], Threshold: 0, EvaluationPeriods: 10, DatapointsToAlarm: 10,
    }),
    [`Alarm${pascal(queue)}Age`]: alarm(`${queue}: a message waits for longer than a quarter of an hour`, {
      Namespace: 'AWS/SQS', MetricName: 'ApproximateAgeOfOldestMessage', Dimensions: [{ Name: 'QueueName', Value: { 'Fn::GetAtt': [queueId(queue), 'QueueName'] } }], Threshold: 900, EvaluationPeriods: 5, DatapointsToAlarm: 5,
    }),
  };
}

function streamResources(stream: string): Resources {
  return {
    [streamId(stream)]: {
      Type: 'AWS::Kinesis::Stream',
      Properties: {
        Name: `${prefix}-${stream}`, RetentionPeriodHours: 7 * 24, ShardCount: 1, StreamModeDetails: { StreamMode: 'PROVISIONED' },
        StreamEncryption: { EncryptionType: 'KMS', KeyId: 'alias/aws/kinesis' },
      },
    },
    [`Alarm${pascal(stream)}Age`]: alarm(`${stream}: a listener is behind by more than a quarter of an hour`, {
      Namespace: 'AWS/Kinesis', MetricName: 'GetRecords.IteratorAgeMilliseconds', Dimensions: [{ Name: 'StreamName', Value: ref(streamId(stream)) }], Threshold: 900_000, EvaluationPeriods: 5, DatapointsToAlarm: 5,
    }),
  };
}

const alarm = (AlarmDescription: string, about: object): Resources[string] => ({
  Type: 'AWS::CloudWatch::Alarm',
  Properties: { AlarmDescription, Statistic: 'Maximum', Period: 60, ComparisonOperator: 'GreaterThanThreshold', TreatMissingData: 'notBreaching', AlarmActions: [ref('Alarms')], OKActions: [ref('Alarms')], ...about },
});

function roleResources(): Resources {
  return Object.fromEntries(rolesOf().map(({ id, rights, functions: names }) => [id, {
    Type: 'AWS::IAM::Role',
    Properties: {
      AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { Service: ['lambda.amazonaws.com'] }, Action: ['sts:AssumeRole'] }] },
      Policies: [{
        PolicyName: 'ports',
        PolicyDocument: {
          Version: '2012-10-17',
          Statement: [...statementsOf(rights), ...allow(['logs:CreateLogStream', 'logs:PutLogEvents'], names.map((name) => arn(logGroupId(name))))],
        },
      }],
    },
  }]));
}

export function resources(): Resources {
  const kept = { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' };
  return {
    Table: {
      Type: 'AWS::DynamoDB::Table', ...kept,
      Properties: { ...tableOf(prefix), PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true }, DeletionProtectionEnabled: true },
    },
    ...Object.assign({}, ...queues.map(queueResources), ...streams.map(streamResources)) as Resources,
    Mail: { Type: 'AWS::SES::EmailIdentity', Properties: { EmailIdentity: ref('EmailFrom') } },
    Alarms: { Type: 'AWS::SNS::Topic', Properties: { TopicName: `${prefix}-alarms` } },
    ...roleResources(),
  };
}

const secret = (Description: string) => ({ Type: 'String', NoEcho: true, MinLength: 16, Description });
const parameters = {
  AdminToken: secret('Bearer token of the admin API'),
  DemoCarrierSecret: secret('Signs the notices of the demo carrier'),
  EmailFrom: { Type: 'String', AllowedPattern: '[^\\s@<>,;]+@[^\\s@<>,;]+', Description: 'Sender of letters; SES writes to it once, to see that it is yours' },
  ShopName: { Type: 'String', Default: 'Anyport', Description: 'Name in pages and letters' },
};
/** What of the environment becomes a parameter when `sls deploy` runs. */
const given = { AdminToken: '${env:ADMIN_TOKEN, ""}', DemoCarrierSecret: '${env:DEMO_CARRIER_SECRET, ""}', EmailFrom: '${env:AWS_EMAIL_FROM, ""}', ShopName: '${env:SHOP_NAME, "Anyport"}' };

// ---------------------------------------------------------------- the file

const region = ref('AWS::Region');
const environment = {
  ADAPTERS: 'aws', AWS_SQS: region, AWS_KINESIS: region, AWS_DYNAMODB: region, AWS_SES: region, AWS_PREFIX: prefix, AWS_TABLE: ref('Table'), AWS_EMAIL_FROM: ref('EmailFrom'),
  ADMIN_TOKEN: ref('AdminToken'), DEMO_CARRIER_SECRET: ref('DemoCarrierSecret'), SHOP_NAME: ref('ShopName'),
  SHOP_URL: sub('https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}'), SAMPLE_CATALOGUE: 'off',
};

/** API Gateway waits no longer. */
const answerSeconds = 29;

/** The event of a function, under the keys and names that people know from osls. */
export function eventOf(row: FunctionRow): Readonly<Record<string, object | string>> {
  switch (row.kind) {
    case 'http':
      return row.door === undefined ? { httpApi: '*' } : { httpApi: { method: doors[row.door].method, path: doors[row.door].path } };
    case 'queue':
      return { sqs: { arn: arn(queueId(row.queue)), batchSize: 10, functionResponseType: 'ReportBatchItemFailures' } };
    case 'stream':
      return {
        stream: {
          type: 'kinesis', arn: arn(streamId(row.stream)), batchSize: 100, startingPosition: 'TRIM_HORIZON', parallelizationFactor: 1, maximumRetryAttempts: -1, maximumRecordAgeInSeconds: -1,
          bisectBatchOnFunctionError: true, functionResponseType: 'ReportBatchItemFailures',
        },
      };
    case 'timer':
      return { schedule: { rate: [rateOf(row.everySeconds)] } };
  }
}

/** EventBridge counts in minutes. */
export function rateOf(everySeconds: number): string {
  const minutes = Math.max(1, Math.round(everySeconds / 60));
  return `rate(${minutes} ${minutes === 1 ? 'minute' : 'minutes'})`;
}

function functionOf(row: FunctionRow, roles: readonly Role[]): object {
  const role = roles.find(({ functions: names }) => names.includes(row.name))!;
  return { handler: handlerOf(row.name), role: arn(role.id), timeout: row.kind === 'http' ? answerSeconds : functionSeconds, events: [eventOf(row)] };
}

export const handlerOf = (name: string): string => `index.${name}`;

const head = `# AWS Lambda, for \`npx sls package -c serverless.aws.yml --package .build/aws\` and \`npx sls invoke local -c serverless.aws.yml -f NAME\`; docs/aws.md tells how.
# Made of core/flow.ts by \`npm run generate\`. Whoever wants another function changes the flow.

service: anyport
configValidationMode: error
plugins: ['./serverless/aws.mjs']

custom:
  prefix: '\${self:service}-\${sls:stage}'

`;

/** JSON is YAML: each function and each resource is one line of it. */
export function serverlessAwsYml(): string {
  const lines = (entries: Readonly<Record<string, unknown>>, indent = '  '): string => Object.entries(entries).map(([name, value]) => `${indent}${name}: ${JSON.stringify(value)}\n`).join('');
  const roles = rolesOf();
  const provider = {
    name: 'aws', runtime: 'nodejs22.x', architecture: 'arm64', stage: 'prod', region: 'eu-central-1', memorySize: 512, versionFunctions: false, logRetentionInDays: 30,
    deploymentBucket: { blockPublicAccess: true }, httpApi: { payload: '2.0' }, stackParameters: Object.entries(given).map(([ParameterKey, ParameterValue]) => ({ ParameterKey, ParameterValue })), environment,
  };
  return [
    head, 'provider:\n', lines(provider), '\nfunctions:\n', lines(Object.fromEntries(rows.map((row) => [row.name, functionOf(row, roles)]))),
    '\nresources:\n  Parameters:\n', lines(parameters, '    '), '  Resources:\n', lines(resources(), '    '),
    '  Outputs:\n', lines({ ShopUrl: { Description: 'Where customers reach the shop', Value: environment.SHOP_URL } }, '    '),
  ].join('');
}

/** Whether the file is what the flow says. */
export function isCurrent(): boolean {
  return readFileSync(file, 'utf8') === serverlessAwsYml();
}
