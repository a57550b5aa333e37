/**
 * WHAT OSLS LACKS FOR LAMBDA: the package is a bundle of ours, the same bytes for the same sources, and `invoke local` runs it on this machine. This is the face towards
 * the command line, which reads plug-ins as JavaScript and all at once; what is done stands in pack.ts, and is loaded when it is needed.
 */
export default class Lambda {
  constructor(serverless, options) {
    const { classes, processedInput } = serverless;
    const run = (name) => async () => {
      await import('tsx/esm');
      const { Complaint } = await import('./complaint.ts');
      const commands = await import('./pack.ts');
      try {
        await commands[name](serverless, options);
      } catch (error) {
        throw error instanceof Complaint ? new classes.Error(error.message, 'ANYPORT') : error;
      }
    };
    const before = { 'invoke local': run('prepareLocal'), deploy: run('checkDeploy') };
    this.hooks = {
      initialize: () => before[processedInput.commands.join(' ')]?.(),
      'before:package:createDeploymentArtifacts': run('packLambda'),
    };
  }
}
