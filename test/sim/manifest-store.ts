/**
 * The manifest of a simulated machine. It is the one thing that is not on the virtual disk: SQLite databases in memory, of
 * which every committed state is kept, because a machine that is lost may come back with any of them.
 */
import Database from 'better-sqlite3';
import type { SeededRandom } from './random.ts';

/** States that are kept: the first ones, and the newest. */
const statesMax = 24;

export class ManifestStore {
  /** Oldest first; undefined = no database at all. */
  #states: readonly (Buffer | undefined)[] = [undefined];
  #open: Database.Database | undefined;
  #changes = 0;
  #isOpened = false;

  copy(): ManifestStore {
    const copy = new ManifestStore();
    copy.#states = this.#states;
    return copy;
  }

  /** A process begins. */
  beginLife(): void {
    this.#isOpened = false;
  }

  /** The database as it was committed last; for a process that opens it again, a new one: it was damaged, and removed. */
  open(isReadOnly: boolean): Database.Database {
    if (!isReadOnly && this.#isOpened) this.#states = [...this.#states, undefined];
    this.#isOpened ||= !isReadOnly;
    const state = this.#states.at(-1);
    const database = state === undefined ? new Database(':memory:') : new Database(state);
    if (!isReadOnly) {
      this.#open = database;
      this.#changes = changesOf(database);
    }
    return database;
  }

  /** What was committed since is kept. */
  commit(): void {
    const database = this.#open;
    if (database?.open !== true || changesOf(database) === this.#changes) return;
    this.#changes = changesOf(database);
    const kept = this.#states.length < statesMax ? this.#states : this.#states.toSpliced(1, 1);
    this.#states = [...kept, database.serialize()];
  }

  /** The machine is lost: what comes back is one of the states. */
  lose(random: SeededRandom): void {
    this.#open = undefined;
    const last = this.#states.length - 1;
    const at = random.chance(0.5) ? last : random.between(0, last);
    this.#states = this.#states.slice(0, at + 1);
  }

  /** Some earlier state, as from a copy that somebody kept. */
  restoreEarlier(random: SeededRandom): void {
    this.#states = this.#states.slice(0, random.between(1, this.#states.length));
  }

  /** That of another machine, as of a copy of the pool that was opened, too. */
  takeFrom(other: ManifestStore): void {
    this.#states = other.#states;
  }

  /** One page of the newest state says something else. Answers whether there was one. */
  rot(random: SeededRandom): boolean {
    const state = this.#states.at(-1);
    if (state === undefined) return false;
    const rotten = Buffer.from(state);
    const at = random.below(rotten.length);
    const length = random.pick([1, 16, 512]);
    for (let index = at; index < Math.min(rotten.length, at + length); index += 1) {
      rotten[index] = random.below(256);
    }
    this.#states = [...this.#states.slice(0, -1), rotten];
    return true;
  }
}

function changesOf(database: Database.Database): number {
  return Number(database.prepare('SELECT total_changes()').pluck().get());
}
