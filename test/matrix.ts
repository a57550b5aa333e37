import { SMTPServer } from 'smtp-server';
import { azuritePatienceMs, freshTable, sharedAzurite } from './support/azurite.ts';
import { coveringSet, type Row } from './support/covering.ts';
import { dynamoPatienceMs, freshDynamoTable, sharedDynamo } from './support/dynamo.ts';
import { tellStory, titleOf, type Telling } from './support/story.ts';

/**
 * ANY PORT ANYWHERE: the owner's stories on mixtures of families, so chosen that any two choices for two ports stand together at least once. Brokers and what takes letters
 * are started by the shop itself, each time; the stores, which take long to start, are shared, each mixture with a table of its own.
 */
const families = ['memory', 'embedded', 'azure', 'aws'];
const rows = coveringSet({ queue: families, stream: families, store: families, mailer: [...families, 'smtp'] });

export function tellMatrix(only?: Telling['only']): void {
  describe('Any port anywhere', function () {
    this.timeout(60_000);
    let mailServer: SMTPServer;
    /** Stories of which something came true, and those of which something did not, by their titles. */
    const begun = new Set<string>();
    const broken = new Set<string>();

    before(async function () {
      this.timeout(azuritePatienceMs + dynamoPatienceMs);
      await Promise.all([sharedAzurite(), sharedDynamo()]);
      mailServer = new SMTPServer({ authOptional: true, disabledCommands: ['STARTTLS'], onData: (stream, _session, done) => void stream.on('end', () => done()).resume() });
      await new Promise<void>((resolve) => void mailServer.listen(0, '127.0.0.1', resolve));
    });
    after(async () => {
      await new Promise<void>((resolve) => void mailServer.close(resolve));
      console.log(picture(begun, broken));
    });

    /** Where what is shared is. */
    async function shared({ store, mailer }: Row): Promise<Record<string, string>> {
      const { port } = mailServer.server.address() as { port: number };
      return {
        ...(store === 'azure' ? { AZURE_TABLES: (await sharedAzurite()).connectionString, AZURE_TABLE: freshTable() } : {}),
        ...(store === 'aws' ? { AWS_DYNAMODB: (await sharedDynamo()).endpoint, AWS_TABLE: freshDynamoTable() } : {}),
        ...(mailer === 'smtp' ? { SMTP_URL: `smtp://127.0.0.1:${port}` } : {}),
      };
    }

    afterEach(function () {
      const { parent, state } = this.currentTest!;
      if (state === 'passed') begun.add(parent!.title);
      else broken.add(parent!.title);
    });
    for (const row of rows) tellStory(adaptersOf(row), { more: () => shared(row), ...(only ? { only } : {}) });
  });
}

function adaptersOf(row: Row): string {
  return Object.entries(row).map(([port, family]) => `${port}=${family}`).join(',');
}

/** The mixtures as a table: a line a mixture. */
function picture(begun: ReadonlySet<string>, broken: ReadonlySet<string>): string {
  const line = (cells: readonly string[]): string => `    ${cells.map((cell) => cell.padEnd(10)).join('')}`;
  const endOf = (title: string): string => (begun.has(title) && !broken.has(title) ? 'told' : 'NOT TOLD');
  const ports = ['queue', 'stream', 'store', 'mailer'];
  return ['', line([...ports, 'the story']), ...rows.map((row) => line([...ports.map((port) => row[port]!), endOf(titleOf(adaptersOf(row)))])), ''].join('\n');
}
