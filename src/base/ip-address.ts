/** IP addresses as text, without port. */

const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** Whether `text` is an IPv4 address, or an IPv6 address without brackets. */
export function isIpAddress(text: string): boolean {
  if (ipv4.test(text)) return true;
  return /^[\da-f:.]+$/i.test(text) && text.includes(':') && URL.canParse(`http://[${text}]`);
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
