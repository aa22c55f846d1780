/** IP addresses as text, without port. */

const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** Whether `text` is an IPv4 address, or an IPv6 address without brackets. */
export function isIpAddress(text: string): boolean {
  if (ipv4.test(text)) return true;
  return /^[\da-f:.]+$/i.test(text) && text.includes(':') && URL.canParse(`http://[${text}]`);
}

/** The one way in which an address is written here ("::1", not "0:0::1"); undefined when it is none. */
export function canonicalIpAddress(text: string): string | undefined {
  if (!isIpAddress(text)) return undefined;
  return text.includes(':') ? new URL(`http://[${text}]`).hostname.slice(1, -1) : text;
}

/** Whether `address` means something on one network only, and then needs a name of an interface behind it (RFC 4291, fe80::/10). */
export function isLinkLocalAddress(address: string): boolean {
  return /^fe[89ab][\da-f]:/i.test(address);
}

/** Whether only programs of the same machine can have `address`, also as IPv6 writes one of IPv4. */
export function isLoopbackAddress(address: string): boolean {
  const plain = address.toLowerCase().replace(/^::ffff:/, '');
  return plain === '::1' || (ipv4.test(plain) && plain.startsWith('127.'));
}

/** The address of "10.0.0.5:3260", "[::1]:3260" or "::1:3260". */
export function addressOfPeer(peer: string): string {
  return peer.replace(/:\d+$/, '').replaceAll(/^\[|\]$/g, '');
}
