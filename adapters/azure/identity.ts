import type { TokenCredential } from '@azure/core-auth';

/** Who we are to the cloud: managed identity, environment, or the developer's login (https://learn.microsoft.com/azure/developer/javascript/sdk/credential-chains). Loaded when it is needed. */
export async function identity(): Promise<TokenCredential> {
  const { DefaultAzureCredential } = await import('@azure/identity');
  return new DefaultAzureCredential();
}
