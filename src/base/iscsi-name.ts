/** Names of iSCSI nodes (RFC 7143 section 4.2.7): iqn., eui. and naa., in the one form that may be compared. */

const NAME_MAX_BYTES = 223;
/** Letters and digits of any script; of the rest what RFC 3722 allows, and the underscore, which hosts put into their names. */
const iqnPattern = /^iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[\p{L}\p{N}_.-]+(?::[\p{L}\p{N}\p{M}_.:-]*)?$/u;
const hexPattern = /^(?:eui\.[0-9a-f]{16}|naa\.(?:[0-9a-f]{16}|[0-9a-f]{32}))$/;

/** The form in which names are compared (RFC 3722: width and case are folded). What is no name at all is folded, too. */
export function foldIscsiName(text: string): string {
  return text.normalize('NFKC').toLowerCase().normalize('NFKC');
}

/** `text` as it is compared; undefined when it is no name of an iSCSI node. */
export function iscsiName(text: string): string | undefined {
  const name = foldIscsiName(text);
  if (new TextEncoder().encode(name).length > NAME_MAX_BYTES) return undefined;
  return iqnPattern.test(name) || hexPattern.test(name) ? name : undefined;
}
