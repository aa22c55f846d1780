/** Operational keys, RFC 7143 section 13: what each offer is answered with, and what then holds. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { negotiate, settle } from '../../../src/iscsi/negotiation.ts';
import { defaultParameters, type SessionParameters } from '../../../src/iscsi/parameters.ts';

interface Where {
  readonly isDiscovery?: boolean;
  readonly isFullFeature?: boolean;
}

function offer(
  keys: Readonly<Record<string, string>>,
  where: Where = {},
): {
  answers: Record<string, string>;
  parameters: SessionParameters;
} {
  const parameters = defaultParameters();
  const context = { parameters, isDiscovery: false, isFullFeature: false, ...where };
  const pairs = Object.entries(keys).map(([key, value]) => ({ key, value }));
  const answers = negotiate(pairs, context);
  return { answers: Object.fromEntries(answers.map(({ key, value }) => [key, value])), parameters };
}

const answerTo = (key: string, value: string, where?: Where): string | undefined =>
  offer({ [key]: value }, where).answers[key];

describe('negotiation', () => {
  const table: readonly (readonly [key: string, offered: string, answer: string | undefined])[] = [
    ['HeaderDigest', 'None,CRC32C', 'None'],
    ['HeaderDigest', 'CRC32C,None', 'CRC32C'],
    ['HeaderDigest', 'CRC32C', 'CRC32C'],
    ['HeaderDigest', 'None', 'None'],
    ['HeaderDigest', 'X-other,CRC32C', 'CRC32C'],
    ['HeaderDigest', 'X-other', 'Reject'],
    ['HeaderDigest', 'crc32c', 'Reject'],
    ['HeaderDigest', '', 'Reject'],
    ['DataDigest', 'CRC32C,None', 'CRC32C'],
    ['DataDigest', 'None', 'None'],
    ['MaxConnections', '8', '1'],
    ['MaxConnections', '0', 'Reject'],
    ['MaxConnections', '65536', 'Reject'],
    ['InitialR2T', 'No', 'No'],
    ['InitialR2T', 'Yes', 'Yes'],
    ['InitialR2T', 'yes', 'Reject'],
    ['ImmediateData', 'Yes', 'Yes'],
    ['ImmediateData', 'No', 'No'],
    ['MaxRecvDataSegmentLength', '262144', undefined],
    ['MaxRecvDataSegmentLength', '512', undefined],
    ['MaxRecvDataSegmentLength', '511', 'Reject'],
    ['MaxRecvDataSegmentLength', '16777215', undefined],
    ['MaxRecvDataSegmentLength', '16777216', 'Reject'],
    ['MaxBurstLength', '262144', '262144'],
    ['MaxBurstLength', '0x40000', '262144'],
    ['MaxBurstLength', '16776192', '1048576'],
    ['MaxBurstLength', '511', 'Reject'],
    ['MaxBurstLength', 'many', 'Reject'],
    ['FirstBurstLength', '262144', '262144'],
    ['FirstBurstLength', '65536', '65536'],
    ['FirstBurstLength', '16777215', '262144'],
    ['MaxOutstandingR2T', '16', '1'],
    ['MaxOutstandingR2T', '0', 'Reject'],
    ['DataPDUInOrder', 'Yes', 'Yes'],
    ['DataPDUInOrder', 'No', 'Yes'],
    ['DataSequenceInOrder', 'Yes', 'Yes'],
    ['DataSequenceInOrder', 'No', 'Yes'],
    ['ErrorRecoveryLevel', '2', '0'],
    ['ErrorRecoveryLevel', '0', '0'],
    ['ErrorRecoveryLevel', '3', 'Reject'],
    ['DefaultTime2Wait', '0', '2'],
    ['DefaultTime2Wait', '30', '30'],
    ['DefaultTime2Wait', '3601', 'Reject'],
    ['DefaultTime2Retain', '20', '0'],
    ['DefaultTime2Retain', '0', '0'],
    ['IFMarker', 'No', 'No'],
    ['IFMarker', 'Yes', 'No'],
    ['OFMarker', 'Yes', 'No'],
    ['IFMarkInt', '2048~8192', 'Reject'],
    ['OFMarkInt', '2048', 'Reject'],
    ['iSCSIProtocolLevel', '0', '0'],
    ['iSCSIProtocolLevel', '1', '1'],
    ['iSCSIProtocolLevel', '2', '1'],
    ['iSCSIProtocolLevel', '32', 'Reject'],
    ['TaskReporting', 'FastAbort,RFC3720', 'RFC3720'],
    ['TaskReporting', 'FastAbort', 'Reject'],
    ['InitiatorAlias', 'esx1', undefined],
    ['X#NodeArchitecture', 'x', undefined],
    ['TargetAlias', 'x', 'Reject'],
    ['TargetAddress', '127.0.0.1:3260,1', 'Reject'],
    ['TargetPortalGroupTag', '1', 'Reject'],
    ['SendTargets', 'All', 'Reject'],
    ['RDMAExtensions', 'No', 'NotUnderstood'],
    ['X-com.example.key', 'v', 'NotUnderstood'],
    ['maxburstlength', '262144', 'NotUnderstood'],
  ];

  it.each(table)('%s=%s is answered %s', (key, offered, answer) => {
    expect(answerTo(key, offered)).toBe(answer);
  });

  it('answers in the order of the offers', () => {
    const { answers } = offer({
      FirstBurstLength: '4096',
      HeaderDigest: 'None',
      MaxBurstLength: '8192',
    });
    expect(Object.keys(answers)).toEqual(['FirstBurstLength', 'HeaderDigest', 'MaxBurstLength']);
  });

  it('FirstBurstLength never exceeds MaxBurstLength, whichever comes first', () => {
    const { answers } = offer({ FirstBurstLength: '262144', MaxBurstLength: '8192' });
    expect(answers).toEqual({ FirstBurstLength: '8192', MaxBurstLength: '8192' });
    const { parameters } = offer({ MaxBurstLength: '8192' });
    settle(parameters);
    expect(parameters.firstBurstLength).toBe(8192);
  });

  it('an answer value gets no answer and changes nothing', () => {
    for (const value of ['Reject', 'Irrelevant', 'NotUnderstood']) {
      const { answers, parameters } = offer({ MaxBurstLength: value, Unknown: value });
      expect(answers).toEqual({});
      expect(parameters).toEqual(defaultParameters());
    }
  });

  it('what is rejected leaves what held before', () => {
    const { parameters } = offer({
      MaxBurstLength: '1',
      MaxRecvDataSegmentLength: '1',
      HeaderDigest: 'other',
      InitialR2T: 'no',
    });
    expect(parameters).toEqual(defaultParameters());
  });

  it('what is agreed holds', () => {
    const { parameters } = offer({
      HeaderDigest: 'CRC32C',
      DataDigest: 'CRC32C,None',
      InitialR2T: 'No',
      ImmediateData: 'No',
      MaxRecvDataSegmentLength: '131072',
      MaxBurstLength: '524288',
      FirstBurstLength: '131072',
      DefaultTime2Wait: '5',
      DefaultTime2Retain: '20',
    });
    expect(parameters).toEqual({
      hasHeaderDigest: true,
      hasDataDigest: true,
      initialR2t: false,
      immediateData: false,
      maxRecvDataSegmentLength: 262_144,
      initiatorMaxRecvDataSegmentLength: 131_072,
      maxBurstLength: 524_288,
      firstBurstLength: 131_072,
      maxOutstandingR2t: 1,
      defaultTime2Wait: 5,
      defaultTime2Retain: 0,
    });
  });

  it('keys about commands are irrelevant in a discovery session', () => {
    const where = { isDiscovery: true };
    expect(answerTo('MaxBurstLength', '262144', where)).toBe('Irrelevant');
    expect(answerTo('InitialR2T', 'No', where)).toBe('Irrelevant');
    expect(answerTo('HeaderDigest', 'None', where)).toBe('None');
    expect(answerTo('DefaultTime2Wait', '2', where)).toBe('2');
    expect(answerTo('Unknown', '2', where)).toBe('NotUnderstood');
  });

  it('in full feature phase only what may change is taken', () => {
    const where = { isFullFeature: true };
    expect(answerTo('MaxBurstLength', '262144', where)).toBe('Reject');
    expect(answerTo('HeaderDigest', 'None', where)).toBe('Reject');
    expect(answerTo('Unknown', 'x', where)).toBe('NotUnderstood');
    const { answers, parameters } = offer({ MaxRecvDataSegmentLength: '4096' }, where);
    expect(answers).toEqual({});
    expect(parameters.initiatorMaxRecvDataSegmentLength).toBe(4096);
  });

  it('never chooses from a list what was not offered, whatever is offered', () => {
    const names = fc.array(
      fc.constantFrom('None', 'CRC32C', 'none', 'X-a', '', 'RFC3720', 'FastAbort'),
    );
    const key = fc.constantFrom('HeaderDigest', 'DataDigest', 'TaskReporting');
    fc.assert(
      fc.property(key, names, (name, offered) => {
        const answer = answerTo(name, offered.join(','));
        expect(['Reject', ...offered]).toContain(answer);
      }),
    );
  });
});
