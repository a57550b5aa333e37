import { withDynamo } from './support/dynamo.ts';
import { tellStory } from './support/story.ts';

/** The owner's stories on each family, and on a mixture that forgets its queues alone. What a family of a cloud needs on this machine starts by itself. */
for (const adapters of ['memory', 'embedded', 'queue=memory,stream=embedded,store=embedded', 'azure']) tellStory(adapters);
withDynamo('the story on AWS', () => tellStory('aws'));
