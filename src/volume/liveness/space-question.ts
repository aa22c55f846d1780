/** Questions about space: what the blocks are there for, how fast the pool fills, and what would be if. */
import { success } from '../../base/errors.ts';
import type { Done, Operator } from '../core/operator.ts';
import type { Growth, PoolSpace, Progress, SpaceQuestion } from '../reports.ts';
import type { LivenessMark } from './mark.ts';
import { answerSpace } from './space-report.ts';
import { whatIfWindow } from './what-if-window.ts';

interface SpaceDoors {
  readonly operator: Operator;
  readonly mark: LivenessMark;
  readonly growth: () => readonly Growth[];
}

/** `done` gets OperationError not-found for names that there are not. */
export function askSpace(
  { operator, mark, growth }: SpaceDoors,
  { question, progress }: { readonly question: SpaceQuestion; readonly progress: Progress },
  done: Done<PoolSpace>,
): void {
  answerSpace(operator, { question, progress, mark }, (outcome) => {
    if (!outcome.ok) {
      done(outcome);
      return;
    }
    const space = { ...outcome.value, growth: growth() };
    const { volume, windowMs } = question;
    if (windowMs === undefined) {
      done(success(space));
      return;
    }
    whatIfWindow({ operator, mark }, { volume, windowMs }, (found) => {
      done(found.ok ? success({ ...space, whatIfWindow: found.value }) : found);
    });
  });
}
