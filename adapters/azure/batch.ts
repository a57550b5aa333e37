import { PortError } from '../../ports/index.ts';
import { said, type RestFailure } from './errors.ts';

/**
 * An entity-group transaction of Table Storage as it stands on the wire: https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
 *
 * It is written here, and not by `submitTransaction` of @azure/data-tables 13.3, for three reasons. That one drops the ETag of a delete, and so deletes blindly whatever is
 * there. It reads an applied transaction as failed when a key has braces. And what really goes over the wire has to be measured before it does, against the 4 MiB that the
 * service takes. Apart from the ETag of deletes the text is what the SDK writes; a test holds the two against each other.
 *
 * All of it is ASCII: so its length is its bytes, and a server that decodes what comes in pieces (Azurite does) spoils no character.
 */
export type Operation =
  /** `entity` is JSON, made by `json`. */
  | { readonly op: 'create'; readonly key: string; readonly entity: string }
  | { readonly op: 'replace'; readonly key: string; readonly version: string; readonly entity: string }
  | { readonly op: 'delete'; readonly key: string; readonly version: string };

/** "Less than 4 MiB" for the whole transaction. */
export const transactionBytesMax = 4 * 1024 * 1024 - 1;

const end = '\r\n';
const createHeaders = `Content-Type: application/json;odata=nometadata${end}Accept: application/json;odata=minimalmetadata${end}DataServiceVersion: 3.0${end}Prefer: return-no-content${end}`;
const replaceHeaders = `Content-Type: application/json${end}DataServiceVersion: 3.0${end}Accept: application/json${end}`;
const deleteHeaders = `Accept: application/json;odata=minimalmetadata${end}DataServiceVersion: 3.0${end}`;

/** `address` is the table's: `https://account.table.core.windows.net/table`. Throws `tooLarge` for what the service would not take. */
export function writeBatch(address: string, partition: string, operations: readonly Operation[], id: string): { readonly body: string; readonly headers: Record<string, string> } {
  let body = `--batch_${id}${end}content-type: multipart/mixed; boundary=changeset_${id}${end}${end}${end}`;
  for (const operation of operations) body += `--changeset_${id}${end}content-type: application/http${end}content-transfer-encoding: binary${end}${end}${partOf(address, partition, operation)}`;
  body += `--changeset_${id}--${end}--batch_${id}--${end}`;
  if (body.length > transactionBytesMax) throw new PortError('tooLarge', `a transaction of ${body.length} bytes on the wire, ${transactionBytesMax} at most`);
  return {
    body,
    headers: {
      accept: 'application/json', 'x-ms-version': '2019-02-02', DataServiceVersion: '3.0;', MaxDataServiceVersion: '3.0;NetFx',
      'Content-Type': `multipart/mixed; boundary=batch_${id}`, 'Accept-Charset': 'UTF-8', Connection: 'Keep-Alive',
    },
  };
}

function partOf(address: string, partition: string, operation: Operation): string {
  if (operation.op === 'create') return `POST ${address} HTTP/1.1${end}${createHeaders}${end}${end}${operation.entity}${end}`;
  const entity = `${address}(PartitionKey='${inAddress(partition)}',RowKey='${inAddress(operation.key)}')`;
  if (operation.op === 'delete') return `DELETE ${entity} HTTP/1.1${end}${deleteHeaders}If-Match: ${operation.version}${end}${end}${end}`;
  return `PUT ${entity} HTTP/1.1${end}${replaceHeaders}If-Match: ${operation.version}${end}${end}${end}${operation.entity}${end}`;
}

/** JSON in ASCII. */
export function json(value: unknown): string {
  const text = JSON.stringify(value);
  return /[^\x00-\x7f]/.test(text) ? text.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`) : text;
}

const inAddress = (key: string): string => encodeURIComponent(key.replaceAll("'", "''"));

/**
 * What became of `count` operations: their new versions ('' for a delete), or the one failure for which none was done.
 * An answer that is neither is a failure without a status: the outcome is unknown.
 */
export function readBatch(text: string, count: number): readonly string[] | RestFailure {
  const versions: string[] = [];
  // Boundaries stand at the beginning of a line, where no key can stand.
  for (const part of text.split(/^--changesetresponse_/m).slice(1)) {
    if (/^[^\r\n]*--\s/.test(part)) break;
    const status = Number(/^HTTP\/1\.1 (\d{3})\b/m.exec(part)?.[1] ?? 0);
    if (status < 200 || status > 299) return status === 0 ? unreadable : { status, ...said(/^\{.*\}\s*$/ms.exec(part)?.[0]) };
    versions.push(/^ETag: (.*)$/im.exec(part)?.[1]?.trim() ?? '');
  }
  return versions.length === count ? versions : unreadable;
}

const unreadable: RestFailure = { code: 'an answer that cannot be read' };
