import { PortError, isPortError, type PortErrorKind } from '../../ports/index.ts';

/**
 * ERRORS: what the services of AWS answer, as the ports' errors, by the names that the SDK gives them. Whatever is not known here is `unavailable`: nobody knows what became
 * of the call. Texts name codes and never repeat what the service says, in which there are keys and addresses.
 */
const kinds: Readonly<Record<string, PortErrorKind>> = {
  ResourceNotFoundException: 'missing', QueueDoesNotExist: 'missing', 'AWS.SimpleQueueService.NonExistentQueue': 'missing', QueueDeletedRecently: 'missing',
  ReceiptHandleIsInvalid: 'lockLost', MessageNotInflight: 'lockLost', 'AWS.SimpleQueueService.MessageNotInflight': 'lockLost',
  BatchRequestTooLong: 'tooLarge', 'AWS.SimpleQueueService.BatchRequestTooLong': 'tooLarge',
  ProvisionedThroughputExceededException: 'throttled', LimitExceededException: 'throttled', ThrottlingException: 'throttled', Throttling: 'throttled',
  RequestThrottled: 'throttled', RequestThrottledException: 'throttled', RequestLimitExceeded: 'throttled', TooManyRequestsException: 'throttled', OverLimit: 'throttled',
  KMSThrottlingException: 'throttled', KmsThrottled: 'throttled', SlowDown: 'throttled',
  AccessDenied: 'denied', AccessDeniedException: 'denied', UnrecognizedClientException: 'denied', InvalidClientTokenId: 'denied', InvalidSignatureException: 'denied',
  SignatureDoesNotMatch: 'denied', ExpiredToken: 'denied', ExpiredTokenException: 'denied', RequestExpired: 'denied', MissingAuthenticationTokenException: 'denied',
  CredentialsProviderError: 'denied', KMSAccessDeniedException: 'denied', KmsAccessDenied: 'denied', KMSDisabledException: 'denied', KmsDisabled: 'denied', OptInRequired: 'denied',
};

/** The name of an error of the SDK; Node's word for a broken line, which may be wrapped. */
export function nameOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown';
  const { code, name, Code } = error as { readonly code?: unknown; readonly name?: unknown; readonly Code?: unknown };
  const words = [name, Code, code].filter((word): word is string => typeof word === 'string' && word !== '');
  return words.find((word) => Object.hasOwn(kinds, word)) ?? words.find((word) => word !== 'Error') ?? 'unknown';
}

/** Reads what an SDK throws while `doing` something with `key`. */
export function awsError(error: unknown, doing: string, key?: string): PortError {
  if (isPortError(error)) return error;
  const name = nameOf(error);
  const options = { ...(key === undefined ? {} : { key }), cause: error };
  return new PortError(kindOf(name, error), `${doing}: ${name}`, options);
}

function kindOf(name: string, error: unknown): PortErrorKind {
  if (Object.hasOwn(kinds, name)) return kinds[name]!;
  const text = error instanceof Error ? error.message : '';
  // SQS says many things under one name (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html).
  if (name === 'InvalidParameterValue' || name === 'InvalidParameterValueException') {
    if (/must be shorter than/i.test(text)) return 'tooLarge';
    if (/ReceiptHandle|visibility timeout change|Total VisibilityTimeout/i.test(text)) return 'lockLost';
  }
  const { httpStatusCode } = (typeof error === 'object' && error !== null && '$metadata' in error ? error.$metadata : {}) as { readonly httpStatusCode?: number };
  return httpStatusCode === 429 ? 'throttled' : httpStatusCode === 401 || httpStatusCode === 403 ? 'denied' : 'unavailable';
}
