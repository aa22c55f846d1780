/** Names of initiators as an operator types them. */
import { OperationError } from '../base/errors.ts';
import { iscsiName } from '../base/iscsi-name.ts';

/** The names as they are compared, each once, sorted. Throws OperationError `invalid` that says what a name looks like. */
export function initiatorNames(given: readonly string[]): string[] {
  return [...new Set(given.map(initiatorName))].sort();
}

function initiatorName(text: string): string {
  const name = iscsiName(text.trim());
  if (name !== undefined) return name;
  const message = `"${text.slice(0, 230)}" is not the name of an initiator`;
  const hint =
    'names look like iqn.1998-01.com.vmware:esx1, eui.0123456789abcdef or naa.0123456789abcdef; the initiator shows its own (Linux: /etc/iscsi/initiatorname.iscsi)';
  throw new OperationError('invalid', message, hint);
}
