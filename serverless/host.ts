import { functionSeconds } from '../handlers/functions.ts';

/**
 * `host.json`: how the platform calls us. Why each setting is what it is stands in docs/azure.md, with the page on which its maker explains it; a test holds the two together.
 */
const span = (seconds: number): string => [seconds / 3_600, (seconds / 60) % 60, seconds % 60].map((part) => String(Math.floor(part)).padStart(2, '0')).join(':');

export const hostJson = {
  version: '2.0',
  functionTimeout: span(functionSeconds),
  extensionBundle: { id: 'Microsoft.Azure.Functions.ExtensionBundle', version: '[4.*, 5.0.0)' },
  extensions: {
    http: { routePrefix: '', hsts: { isEnabled: true, maxAge: '365' } },
    serviceBus: { autoCompleteMessages: true, maxConcurrentCalls: 16, prefetchCount: 0, maxAutoLockRenewalDuration: span(functionSeconds) },
    eventHubs: { maxEventBatchSize: 128, prefetchCount: 256, batchCheckpointFrequency: 1, initialOffsetOptions: { type: 'fromStart' } },
  },
  logging: {
    logLevel: { default: 'Warning', Function: 'Information', 'Host.Results': 'Information' },
    applicationInsights: { samplingSettings: { isEnabled: true, maxTelemetryItemsPerSecond: 5, excludedTypes: 'Exception' } },
  },
} as const;
