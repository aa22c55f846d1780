/** Checks of catalogue operations before they are logged, and the refusals that name what would be lost. */
import { ErrorCode, OperationError } from '../../base/errors.ts';
import { formatSize } from '../../base/units.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import { limits, namePattern, volumeSizeUnit } from '../limits.ts';
import type { SpaceReport } from './space.ts';

/** NAA type 6 begins with 6, then a 24-bit company id. This one is not registered with the IEEE. */
const naaCompanyId = 0x74_69_64;

/** NAA type 6 identifier: 4 bits type, 24 bits company, 100 bits of the volume's id. */
export function naaOf(uuid: Uint8Array): Uint8Array {
  const naa = uuid.slice();
  const head = naaCompanyId;
  naa[0] = 0x60 | (head >>> 20);
  naa[1] = (head >>> 12) & 0xff;
  naa[2] = (head >>> 4) & 0xff;
  naa[3] = ((head & 0x0f) << 4) | ((naa[3] ?? 0) & 0x0f);
  return naa;
}

/** Throws OperationError when `name` cannot be a name; `what` says of what. */
export function checkName(what: string, name: string): void {
  if (namePattern.test(name)) return;
  throw new OperationError(
    ErrorCode.invalid,
    `"${name}" is no valid ${what} name`,
    'Use 1 to 128 letters, digits, dots, underscores and hyphens.',
  );
}

/** Throws OperationError when no volume can have this size. */
export function checkSize(sizeBytes: number): void {
  const isWhole = Number.isSafeInteger(sizeBytes) && sizeBytes % volumeSizeUnit === 0;
  if (isWhole && sizeBytes > 0 && sizeBytes <= limits.volumeSizeBytesMax) return;
  const nearest = Math.max(1, Math.ceil(sizeBytes / volumeSizeUnit)) * volumeSizeUnit;
  throw new OperationError(
    ErrorCode.invalid,
    `a volume cannot be ${sizeBytes} bytes large`,
    sizeBytes > limits.volumeSizeBytesMax
      ? `The largest is ${formatSize(limits.volumeSizeBytesMax)}.`
      : `Sizes are multiples of ${volumeSizeUnit} bytes; the next one is ${nearest}.`,
  );
}

/** What a smaller size would cut off. */
export function shrinkRefused(volume: VolumeState, sizeBytes: number): OperationError {
  const cut = formatSize(volume.sizeBytes - sizeBytes);
  return new OperationError(
    ErrorCode.needsForce,
    `shrinking ${volume.name} from ${formatSize(volume.sizeBytes)} to ${formatSize(sizeBytes)} cuts off its last ${cut} and what is stored there`,
    'Snapshots keep the old size and content. Repeat with --force if you mean it.',
  );
}

/** What deleting the volume would take with it. */
export function deleteRefused(volume: VolumeState): OperationError {
  const names = [...volume.snapshotByName.keys()];
  const shown = names.slice(0, 5).join(', ');
  const more = names.length > 5 ? `, and ${names.length - 5} more` : '';
  return new OperationError(
    ErrorCode.needsForce,
    `volume ${volume.name} has ${names.length} snapshot${names.length === 1 ? '' : 's'} that would be deleted with it: ${shown}${more}`,
    'Repeat with --force if you mean it.',
  );
}

/** Throws OperationError no-space when the pool cannot keep so much more for a thick volume. */
export function checkReserve(
  room: { canReserve(bytes: number): boolean },
  volume: string,
  bytes: number,
): void {
  if (bytes === 0 || room.canReserve(bytes)) return;
  throw new OperationError(
    ErrorCode.noSpace,
    `the pool has not the ${formatSize(bytes)} left that ${volume} would reserve as a thick volume`,
    'Make the volume smaller or thin, or the pool larger.',
  );
}

/** Throws OperationError when the pool cannot have this capacity, of which user writes may take `writableBytes`. */
export function checkCapacity(
  pool: string,
  capacityBytes: number,
  space: SpaceReport,
  writableBytes: number,
): void {
  const { usedBytes, reservedBytes, fileSystemFreeBytes } = space;
  if (reservedBytes > 0 && usedBytes + reservedBytes > writableBytes) {
    throw new OperationError(
      ErrorCode.invalid,
      `pool ${pool} takes ${formatSize(usedBytes)} and keeps ${formatSize(reservedBytes)} for thick volumes; ${formatSize(capacityBytes)} is too little for that`,
      'Give more, or make volumes thin first.',
    );
  }
  if (!Number.isSafeInteger(capacityBytes) || capacityBytes < usedBytes) {
    throw new OperationError(
      ErrorCode.invalid,
      `pool ${pool} already takes ${formatSize(usedBytes)}; its capacity cannot be ${formatSize(capacityBytes)}`,
      `Give at least ${formatSize(usedBytes)}.`,
    );
  }
  const mostBytes = usedBytes + fileSystemFreeBytes;
  if (capacityBytes > mostBytes) {
    throw new OperationError(
      ErrorCode.noSpace,
      `the file system has room for ${formatSize(mostBytes)}, not ${formatSize(capacityBytes)}`,
      'Give less, or make the file system larger first.',
    );
  }
}
