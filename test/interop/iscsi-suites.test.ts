/**
 * libiscsi's test suites against an appliance: nothing may fail, and nothing may be skipped but what has a reason in
 * test/support/iscsi-suites.ts.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missingPackages } from '../support/debian-packages.ts';
import { describeWith } from '../support/interop.ts';
import { IscsiAppliance } from '../support/iscsi-appliance.ts';
import {
  allowedSkips,
  faultsOfTheTool,
  isFault,
  listSuites,
  runSuite,
} from '../support/iscsi-suites.ts';
import { run, tryRun } from '../support/run.ts';
import { SuiteAppliance } from '../support/suite-appliance.ts';
import { Tgt } from '../support/tgt.ts';

const suites = missingPackages(['libiscsi-bin']).length === 0 ? [...(await listSuites())] : [];

function withUser(url: string, user: string, secret: string): string {
  return url.replace('iscsi://', `iscsi://${user}%${secret}@`);
}

describeWith(['libiscsi-bin', 'tgt'], "libiscsi's suites", () => {
  let target: IscsiAppliance;
  let units: SuiteAppliance;

  beforeAll(async () => {
    target = await IscsiAppliance.start();
    units = new SuiteAppliance(target);
  });

  afterAll(async () => {
    await target.remove();
  });

  it.each(suites)('%s', async (suite, tests) => {
    const unit = await units.nextUnit();
    try {
      const results = await runSuite(suite, tests, unit.urls);
      expect(results.filter(isFault)).toEqual([]);
    } finally {
      await unit.release();
    }
  });

  it('a read-only mapping refuses every write as ReadOnly wants it', async () => {
    const unit = await units.nextUnit(true);
    try {
      const results = await runSuite('ReadOnly', ['ReadOnlySBC'], unit.urls);
      expect(results.map((each) => each.outcome)).toEqual(['passed']);
    } finally {
      await unit.release();
    }
  });

  it('every reason names a suite or a test that exists', () => {
    const names = suites.flatMap(([suite, tests]) => [
      suite,
      ...tests.map((test) => `${suite}.${test}`),
    ]);
    expect(
      Object.keys({ ...allowedSkips, ...faultsOfTheTool }).filter((name) => !names.includes(name)),
    ).toEqual([]);
  });

  describe('with CHAP', () => {
    const initiator = 'iqn.2026-11.org.tidemark.test:chap';
    /** The tool uses a second name for the second portal. */
    const initiators = [initiator, `${initiator}-2`] as const;
    const userIn = 'host-user';
    const secretIn = 'secret-of-the-host';
    const mutual = '?target_user=pool-user&target_password=secret-of-the-pool';

    beforeAll(async () => {
      await target.appliance.api('POST', '/v1/hosts', {
        name: 'chap',
        initiators,
        chapIn: { user: userIn, secret: secretIn },
        chapOut: { user: 'pool-user', secret: 'secret-of-the-pool' },
      });
      await target.appliance.volumeCreate('chap', 64 << 20);
      await target.lunMap('chap', { host: 'chap', lun: 3 });
    });

    it.each(['TestUnitReady', 'Read10', 'MultipathIO'])('%s passes', async (suite) => {
      const tests = suites.find(([name]) => name === suite)?.[1] ?? [];
      const urls = [
        withUser(target.url(3), userIn, secretIn),
        withUser(target.url(3, 1), userIn, secretIn),
      ];
      const results = await runSuite(suite, tests, [
        '-i',
        initiators[0],
        '-I',
        initiators[1],
        ...urls,
      ]);
      expect(results.filter(isFault)).toEqual([]);
    });

    it('the target proves itself when it is asked to', async () => {
      await run('iscsi-inq', ['-i', initiator, withUser(target.url(3), userIn, secretIn) + mutual]);
      const wrong = mutual.replace('of-the-pool', 'of-another-pool');
      const refused = await tryRun('iscsi-inq', [
        '-i',
        initiator,
        withUser(target.url(3), userIn, secretIn) + wrong,
      ]);
      expect(refused.code).not.toBe(0);
    });

    it('a wrong secret, a wrong user and no proof at all are refused', async () => {
      for (const bad of [
        withUser(target.url(3), userIn, 'secret-of-nobody'),
        withUser(target.url(3), 'nobody', secretIn),
        target.url(3),
      ]) {
        const refused = await tryRun('iscsi-inq', ['-i', initiator, bad]);
        expect(refused.code).not.toBe(0);
      }
    });
  });

  it('would notice a target that fails, and takes no skip for a pass', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-canary-'));
    const file = path.join(folder, 'disk.raw');
    fs.writeFileSync(file, '');
    fs.truncateSync(file, 64 << 20);
    await using tgt = await Tgt.start({ folder, luns: [{ file, params: 'thin_provisioning=1' }] });
    const outcomes = async (suite: string): Promise<readonly string[]> => {
      const tests = suites.find(([name]) => name === suite)?.[1] ?? [];
      const results = await runSuite(suite, tests, [tgt.url(1), tgt.url(1, 1)]);
      return results.map((each) => each.outcome);
    };
    expect(await outcomes('GetLBAStatus')).toEqual(['passed', 'failed', 'failed']);
    expect(await outcomes('NoMedia')).toEqual(['skipped']);
    expect(await outcomes('Read6')).toEqual(['passed', 'passed']);
    fs.rmSync(folder, { recursive: true });
  });
});
