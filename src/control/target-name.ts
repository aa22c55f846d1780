/** Names of iSCSI targets: the pool's, and those of hosts that have one of their own. */
import { OperationError } from '../base/errors.ts';
import { iscsiName } from '../base/iscsi-name.ts';

/** The naming authority of our target names (RFC 7143 section 4.2.7.3). */
const TARGET_NAME_PREFIX = 'iqn.2026-11.org.tidemark';

/** A name for the target of a pool: told apart by the pool's uuid, readable by its name. */
export function makeTargetName(pool: { readonly name: string; readonly uuid: string }): string {
  return `${TARGET_NAME_PREFIX}:${namePart(pool.name)}-${pool.uuid.slice(0, 8)}`;
}

/** A name for the target of a host: the pool's with the host's behind it. Throws OperationError `invalid` when that is too long. */
export function makeHostTargetName(poolTarget: string, host: string): string {
  const name = iscsiName(`${poolTarget}:${namePart(host)}`);
  if (name !== undefined) return name;
  const message = `the name of host ${host} is too long to be part of a target name`;
  throw new OperationError('invalid', message, 'give one with --target');
}

/** The name as it is compared. Throws OperationError `invalid` when it is none. */
export function checkedTargetName(text: string): string {
  const name = iscsiName(text.trim());
  if (name !== undefined) return name;
  const message = `"${text.slice(0, 230)}" is not the name of a target`;
  const hint =
    'names look like iqn.2026-11.com.example:array1, eui.0123456789abcdef or naa.0123456789abcdef';
  throw new OperationError('invalid', message, hint);
}

/** What RFC 3722 does not allow in a name becomes a hyphen. */
function namePart(text: string): string {
  return text.toLowerCase().replaceAll(/[^a-z0-9.-]/g, '-');
}
