/** Units of an appliance for libiscsi's suites: each suite gets a new volume under a new LUN number. */
import type { IscsiAppliance } from './iscsi-appliance.ts';
import type { SuiteTarget } from './iscsi-suites.ts';

const unitBytes = 1 << 30;

export class SuiteAppliance {
  readonly #target: IscsiAppliance;
  #count = 0;

  constructor(target: IscsiAppliance) {
    this.#target = target;
  }

  /** A new volume, mapped; gone again after `release`. */
  async nextUnit(isReadOnly = false): Promise<SuiteTarget> {
    this.#count += 1;
    const { appliance } = this.#target;
    const volume = `suite${this.#count}`;
    await appliance.volumeCreate(volume, unitBytes);
    const lun = await this.#target.lunMap(volume, { isReadOnly });
    return {
      urls: [this.#target.url(lun), this.#target.url(lun, 1)],
      release: async () => {
        await this.#target.lunUnmap(volume);
        await appliance.api('DELETE', `/v1/volumes/${volume}?force=true`);
      },
    };
  }
}
