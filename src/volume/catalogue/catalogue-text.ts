/**
 * Text of a catalogue: all that it says, as JSON that is the same for equal catalogues. It comes in pieces, for there may be
 * hundreds of thousands of pins and snapshots, and whoever writes it has other things to do meanwhile.
 *
 *     {"version":1,"lines":[ │ line │ line │ ],"volumes":[ │ volume │ snapshot │ ... │ 32 pins │ 32 pins │ ... │ ]}
 *
 * Invariant: the catalogue must not change between two pieces.
 */
import { formatCdpPolicy, unlimitedCdp } from '../../base/cdp-policy.ts';
import { toHex } from '../../base/uuid.ts';
import type { Catalogue, EpochState, LineSpan, SnapshotState, VolumeState } from './catalogue.ts';
import type { KeptMoments } from './kept-moments.ts';
import type { PinList } from './pin-list.ts';
import { Provisioning } from './records.ts';

export const textVersion = 1;
const unlimitedText = formatCdpPolicy(unlimitedCdp);
/** About as much work as one of anything else: 3 us. */
const pinsPerPiece = 32;

/** Canonical text of a catalogue: equal catalogues give equal texts. */
export function catalogueText(catalogue: Catalogue): string {
  return [...cataloguePieces(catalogue)].join('');
}

/** The same in pieces, each of which takes a few microseconds (but one of a volume sorts its snapshots). */
export function* cataloguePieces(catalogue: Catalogue): Generator<string> {
  yield `{"version":${textVersion},"lines":[`;
  yield* listed(catalogue.lines(), (line) => line);
  yield '],"volumes":[';
  let separator = '';
  for (const volume of catalogue.volumes()) {
    yield separator;
    yield* volumePieces(volume);
    separator = ',';
  }
  yield '],"epochs":[';
  yield* listed(catalogue.epochs, epochShape);
  yield ']}';
}

function* listed<T>(items: Iterable<T>, shapeOf: (item: T) => unknown): Generator<string> {
  let separator = '';
  for (const item of items) {
    yield separator + JSON.stringify(shapeOf(item));
    separator = ',';
  }
}

function* volumePieces(volume: VolumeState): Generator<string> {
  yield `${JSON.stringify(headShape(volume)).slice(0, -1)},"history":[`;
  yield* listed(volume.history, spanShape);
  yield '],"snapshots":[';
  yield* listed([...volume.snapshotByName.values()].sort(byCut), snapshotShape);
  yield `]${keptFields(volume)}`;
  yield* pinPieces(volume.pins);
  yield '}';
}

function headShape(volume: VolumeState): object {
  return {
    uuid: toHex(volume.uuid),
    name: volume.name,
    line: volume.line,
    sizeBytes: volume.sizeBytes,
    naa: toHex(volume.naa),
    serial: volume.serial,
    ack: volume.ack,
    ...(volume.provisioning === Provisioning.thin ? {} : { provisioning: volume.provisioning }),
    createdMs: volume.createdMs,
    createdPosition: volume.createdPosition,
    // Left out when there is none: checkpoints from before there were such states stay equal.
    ...(volume.luState === undefined ? {} : { luState: toHex(volume.luState) }),
    view:
      volume.view === undefined
        ? null
        : { source: toHex(volume.view.sourceUuid), label: volume.view.label },
  };
}

function spanShape(span: LineSpan): object {
  return { ...span, leftAt: span.leftAt ?? null };
}

/** Left out where everything is kept, as in checkpoints from before there were windows. */
function keptFields({ policy, isGuaranteed, horizon }: KeptMoments): string {
  const text = formatCdpPolicy(policy);
  const fields = JSON.stringify({
    ...(text === unlimitedText ? {} : { policy: text }),
    ...(isGuaranteed ? { guarantee: 1 } : {}),
    ...(horizon === undefined ? {} : { horizon }),
  }).slice(1, -1);
  return fields === '' ? '' : `,${fields}`;
}

/** Cut and time of each as what they add to those before: there may be very many, and this is their text. */
function* pinPieces(pins: PinList): Generator<string> {
  if (pins.length === 0) return;
  yield ',"pins":[';
  for (let from = 0; from < pins.length; from += pinsPerPiece) yield pinNumbers(pins, from);
  yield ']';
}

function pinNumbers(pins: PinList, from: number): string {
  let text = '';
  let cut = from === 0 ? 0 : pins.cutAt(from - 1);
  let timeMs = from === 0 ? 0 : pins.timeAt(from - 1);
  const end = Math.min(pins.length, from + pinsPerPiece);
  for (let index = from; index < end; index += 1) {
    const separator = index === 0 ? '' : ',';
    text += `${separator}${pins.cutAt(index) - cut},${pins.timeAt(index) - timeMs}`;
    cut = pins.cutAt(index);
    timeMs = pins.timeAt(index);
  }
  return text;
}

function snapshotShape(snapshot: SnapshotState): object {
  return {
    uuid: toHex(snapshot.uuid),
    name: snapshot.name,
    line: snapshot.line,
    cut: snapshot.cut,
    createdMs: snapshot.createdMs,
    sizeBytes: snapshot.sizeBytes,
    ...(snapshot.lockedUntilMs === 0 ? {} : { lockedUntilMs: snapshot.lockedUntilMs }),
    ...(snapshot.past === undefined
      ? {}
      : { momentTicks: snapshot.past.ticks, label: snapshot.past.label }),
  };
}

function epochShape({ epoch, openId, nodeUuid, startPosition }: EpochState): object {
  return { epoch, openId: toHex(openId), nodeUuid: toHex(nodeUuid), startPosition };
}

function byCut(left: SnapshotState, right: SnapshotState): number {
  return left.cut - right.cut || (left.name < right.name ? -1 : 1);
}
