import { expect, it } from 'vitest';
import { foldIscsiName, iscsiName } from '../../../src/base/iscsi-name.ts';

it.each([
  ['iqn.1998-01.com.vmware:esx1-4f5a', 'iqn.1998-01.com.vmware:esx1-4f5a'],
  ['IQN.1998-01.COM.VMware:ESX_1', 'iqn.1998-01.com.vmware:esx_1'],
  ['iqn.2026-12.test', 'iqn.2026-12.test'],
  ['iqn.2026-12.test:', 'iqn.2026-12.test:'],
  ['iqn.2026-12.test:a:b.c', 'iqn.2026-12.test:a:b.c'],
  ['iqn.2026-12.test:Größe', 'iqn.2026-12.test:größe'],
  // Full width letters are the same letters (NFKC).
  ['iqn.2026-12.test:ＡＢ', 'iqn.2026-12.test:ab'],
  ['EUI.02004567A425678D', 'eui.02004567a425678d'],
  ['naa.52004567BA64678D', 'naa.52004567ba64678d'],
  [`naa.6${'0'.repeat(31)}`, `naa.6${'0'.repeat(31)}`],
  [`iqn.2026-12.test:${'x'.repeat(206)}`, `iqn.2026-12.test:${'x'.repeat(206)}`],
])('%s is compared as %s', (text, name) => {
  expect(iscsiName(text)).toBe(name);
  expect(foldIscsiName(text)).toBe(name);
});

it.each([
  '',
  'esx1',
  'iqn.2026-13.test',
  'iqn.2026-00.test',
  'iqn.26-01.test',
  'iqn.2026-01.',
  'iqn.2026-01.a b',
  'iqn.2026-01.test:a,b',
  'iqn.2026-01.test:a\0b',
  'iqn.2026-01.test:a/b',
  'eui.02004567A425678',
  'eui.02004567A425678G',
  'naa.520',
  `naa.6${'0'.repeat(30)}`,
  `iqn.2026-12.test:${'x'.repeat(207)}`,
  // 223 is counted in bytes.
  `iqn.2026-12.test:${'ö'.repeat(104)}`,
])('%j is no name', (text) => {
  expect(iscsiName(text)).toBeUndefined();
});
