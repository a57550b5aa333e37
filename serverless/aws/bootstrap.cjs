/**
 * WHAT LAMBDA'S OWN RUNTIME FOR NODE DOES (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): loads the function that `_HANDLER` names from LAMBDA_TASK_ROOT, asks the
 * Runtime API for the next event, calls it, posts what it resolves with, or how it failed, and asks again. A start that fails is posted as one, and ends the process.
 *
 * Plain JavaScript without a loader: it runs on any Node, and brings nothing to the package that the package does not have. `_HANDLER=index.*`: each event's function is in its ARN, so
 * that one process can try them all.
 */
const http = require('node:http');
const path = require('node:path');

const { AWS_LAMBDA_RUNTIME_API: api, LAMBDA_TASK_ROOT: root, _HANDLER: handler } = process.env;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(method, where, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const [hostname, port] = api.split(':');
    const request = http.request({ agent, hostname, port, method, path: `/2018-06-01/runtime/${where}`, headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) } }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part)).on('error', reject).on('end', () => resolve({ headers: answer.headers, text: Buffer.concat(parts).toString() }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

const told = (error) => JSON.stringify({ errorType: error?.name ?? 'Error', errorMessage: error?.message ?? String(error), trace: String(error?.stack ?? '').split('\n') });
const unhandled = { 'lambda-runtime-function-error-type': 'Unhandled' };

function load() {
  const [file, name] = handler.split('.');
  const found = require(path.join(root, file));
  if (name !== '*' && typeof found[name] !== 'function') throw new Error(`${handler} is undefined or not exported`);
  return (arn) => found[name === '*' ? arn.split(':').at(-1) : name];
}

async function main() {
  let functionOf;
  try {
    functionOf = load();
  } catch (error) {
    await ask('POST', 'init/error', told(error), unhandled);
    process.exit(1);
  }
  for (;;) {
    const { headers, text } = await ask('GET', 'invocation/next');
    const id = headers['lambda-runtime-aws-request-id'];
    try {
      const context = { awsRequestId: id, invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'], getRemainingTimeInMillis: () => Number(headers['lambda-runtime-deadline-ms']) - Date.now() };
      const call = functionOf(context.invokedFunctionArn);
      if (typeof call !== 'function') throw new Error(`there is no function ${context.invokedFunctionArn.split(':').at(-1)}`);
      // Node 24 takes no functions that want a callback.
      if (call.length > 2) throw new Error('a function with a callback');
      const result = await call(JSON.parse(text), context);
      await ask('POST', `invocation/${id}/response`, JSON.stringify(result === undefined ? null : result));
    } catch (error) {
      await ask('POST', `invocation/${id}/error`, told(error), unhandled);
    }
  }
}

// Whoever has started us has gone.
main().catch(() => process.exit(0));
