import { Defect, PortError, isPortError, type PortErrorKind } from '../../ports/index.ts';

/**
 * ERRORS: what the services of Azure answer, as the ports' errors. Whatever is not known here is `unavailable`: nobody knows what became of the call.
 *
 * REST (Table Storage, Communication Services):
 *
 * | answer                                                                  | becomes       |
 * |-------------------------------------------------------------------------|---------------|
 * | 412; 409 and 404 about an entity                                        | `conflict`    |
 * | 413, 400 with a code that says "too large"                              | `tooLarge`    |
 * | 429, 503                                                                | `throttled`   |
 * | 401, 403; no token to be had                                            | `denied`      |
 * | any other 400: the service does not understand what we have said        | a `Defect`    |
 * | all else: 500, 408, a table that is not there, a broken line, no answer | `unavailable` |
 *
 * AMQP (Service Bus, Event Hubs): `amqpKinds` below, by the names that the two SDKs give to the conditions of the protocol.
 *
 * Texts name codes and never repeat what the service says, in which there are keys and addresses.
 */
export interface RestFailure {
  /** Absent when no answer came. */
  readonly status?: number;
  /** The service's word for it, or Node's for a broken line. */
  readonly code: string;
  /** Of the operation in a transaction that has failed, from 0. */
  readonly index?: number;
  /** How long the service asks to be left alone. */
  readonly retryAfterMilliseconds?: number;
}

const absences = ['ResourceNotFound', 'EntityNotFound'];
const tooLarge = ['RequestBodyTooLarge', 'EntityTooLarge', 'PropertyValueTooLarge', 'KeyValueTooLarge', 'ContentLengthExceeded', 'TooManyProperties'];

export function restError(failure: RestFailure, doing: string, options: { key?: string; cause?: unknown } = {}): PortError | Defect {
  const text = `${doing}: ${[failure.status, failure.code].filter((part) => part !== undefined && part !== '').join(' ')}`;
  const kind = kindOf(failure);
  return kind === 'defect' ? new Defect(text, { cause: options.cause }) : new PortError(kind, text, options);
}

/** True when the service says that there is no such entity; that there is no table is another thing. */
export const isAbsent = ({ status, code }: RestFailure): boolean => status === 404 && absences.includes(code);

function kindOf(failure: RestFailure): PortErrorKind | 'defect' {
  const { status, code } = failure;
  if (status === 412 || code === 'EntityAlreadyExists' || isAbsent(failure)) return 'conflict';
  if (status === 413 || tooLarge.includes(code)) return 'tooLarge';
  if (status === 429 || status === 503 || code === 'ServerBusy') return 'throttled';
  if (status === 401 || status === 403 || /^(CredentialUnavailable|Authentication(Required)?|AggregateAuthentication)Error$/.test(code)) return 'denied';
  return status === 400 ? 'defect' : 'unavailable';
}

/** Reads what an SDK for REST throws. It looks at the shape alone, for each SDK brings a class of its own. */
export function restFailure(error: unknown): RestFailure {
  if (!isObject(error)) return { code: '' };
  const { statusCode, code, name, response } = error;
  if (typeof statusCode !== 'number') return { code: typeof code === 'string' ? code : typeof name === 'string' ? name : '' };
  const answer = isObject(response) ? response : {};
  const wait = retryAfter(answer['headers']);
  return {
    status: statusCode, ...said(answer['bodyAsText'], typeof code === 'string' ? code : headerOf(answer['headers'], 'x-ms-error-code') ?? ''),
    ...(wait === undefined ? {} : { retryAfterMilliseconds: wait }),
  };
}

/** The code in an OData error, and the operation that its message begins with: `3:The update condition …`. */
export function said(body: unknown, otherwise = ''): { code: string; index?: number } {
  const parsed = parse(body);
  const error = isObject(parsed) ? (parsed['odata.error'] ?? parsed['error']) : undefined;
  if (!isObject(error)) return { code: otherwise };
  const message = isObject(error['message']) ? error['message']['value'] : error['message'];
  const index = typeof message === 'string' ? /^(\d{1,3}):/.exec(message)?.[1] : undefined;
  return { code: typeof error['code'] === 'string' ? error['code'] : otherwise, ...(index === undefined ? {} : { index: Number(index) }) };
}

function parse(text: unknown): unknown {
  try {
    return typeof text === 'string' ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

/** `Retry-After` in seconds, and Azure's own in milliseconds. A date is left aside: the service sends none. */
function retryAfter(headers: unknown): number | undefined {
  const milliseconds = headerOf(headers, 'retry-after-ms') ?? headerOf(headers, 'x-ms-retry-after-ms');
  if (milliseconds !== undefined && /^\d{1,9}$/.test(milliseconds)) return Number(milliseconds);
  const seconds = headerOf(headers, 'retry-after');
  return seconds !== undefined && /^\d{1,6}$/.test(seconds) ? Number(seconds) * 1_000 : undefined;
}

function headerOf(headers: unknown, name: string): string | undefined {
  if (!isObject(headers) || typeof headers['get'] !== 'function') return undefined;
  const value: unknown = headers['get'](name);
  return typeof value === 'string' ? value : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/**
 * By `code` (@azure/core-amqp, ConditionErrorNameMapper; @azure/service-bus, ServiceBusErrorCode: the same conditions under other names).
 * `throttled` are those that say that nothing was done and that one may come again.
 */
const amqpKinds: Readonly<Record<string, PortErrorKind>> = {
  MessagingEntityNotFound: 'missing', MessagingEntityNotFoundError: 'missing',
  MessageLockLost: 'lockLost', MessageLockLostError: 'lockLost', MessageNotFound: 'lockLost', MessageNotFoundError: 'lockLost',
  MessageSizeExceeded: 'tooLarge', MessageTooLargeError: 'tooLarge',
  UnauthorizedAccess: 'denied', UnauthorizedError: 'denied', PublisherRevokedError: 'denied',
  ServiceBusy: 'throttled', ServerBusyError: 'throttled', QuotaExceeded: 'throttled', QuotaExceededError: 'throttled',
  MessagingEntityDisabled: 'throttled', MessagingEntityDisabledError: 'throttled',
  // Said by the SDK itself, before anything has gone out.
  SenderBusyError: 'throttled', SenderNotReadyError: 'throttled', InsufficientCreditError: 'throttled',
  // Thrown for want of a token, before anybody was asked.
  CredentialUnavailableError: 'denied', AuthenticationError: 'denied', AuthenticationRequiredError: 'denied', AggregateAuthenticationError: 'denied',
};

/** Reads what an SDK for AMQP throws while `doing` something with `key`. */
export function amqpError(error: unknown, doing: string, key?: string): PortError {
  if (isPortError(error)) return error;
  // One of them for each address of a host, or for each attempt.
  const last: unknown = error instanceof AggregateError ? error.errors.at(-1) : error;
  const { code, name } = isObject(last) ? last : {};
  const words = [code, name].filter((word) => typeof word === 'string');
  const known = words.find((word) => Object.hasOwn(amqpKinds, word));
  return new PortError(known === undefined ? 'unavailable' : amqpKinds[known]!, `${doing}: ${words[0] ?? 'unknown'}`, { ...(key === undefined ? {} : { key }), cause: error });
}
