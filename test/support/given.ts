import { isRefusal, type Refusal } from '../../ports/index.ts';
import type { Fact, Model } from '../../core/kernel/model.ts';

/** Given these commands have been decided, one after the other: where that has led, and what came of the last one. */
export interface Story<State> {
  readonly state: State;
  /** Of all commands. */
  readonly facts: readonly Fact[];
  /** Of the last one. */
  readonly last: readonly Fact[] | Refusal;
}

export function given<State, Command>(model: Model<State, Command>, ...commands: readonly Command[]): Story<State> {
  let story: Story<State> = { state: model.initial, facts: [], last: [] };
  for (const command of commands) {
    const last = model.decide(story.state, command);
    const news = isRefusal(last) ? [] : last;
    story = { state: news.reduce((state, fact) => model.evolve(state, fact), story.state), facts: [...story.facts, ...news], last };
  }
  return story;
}

export const types = (facts: readonly Fact[] | Refusal): readonly string[] | string => (isRefusal(facts) ? facts.refused : facts.map(({ type }) => type));

/** All orders of these, n! of them. */
export function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, n) => permutations(items.filter((_, i) => i !== n)).map((rest) => [item, ...rest]));
}

/** The same with each item a second time, directly after itself and, all of them once more, at the end. */
export const withRepeats = <Item>(items: readonly Item[]): Item[] => [...items.flatMap((item) => [item, item]), ...items];
