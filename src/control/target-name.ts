/** The name of a pool's iSCSI target. */

/** The naming authority of our target names (RFC 7143 section 4.2.7.3). */
const TARGET_NAME_PREFIX = 'iqn.2026-11.org.tidemark';

/** A name for the target of a pool: told apart by the pool's uuid, readable by its name. */
export function makeTargetName(pool: { readonly name: string; readonly uuid: string }): string {
  // What RFC 3722 does not allow in a name becomes a hyphen.
  const name = pool.name.toLowerCase().replaceAll(/[^a-z0-9.-]/g, '-');
  return `${TARGET_NAME_PREFIX}:${name}-${pool.uuid.slice(0, 8)}`;
}
