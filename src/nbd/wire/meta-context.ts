/** LIST_META_CONTEXT and SET_META_CONTEXT, NBD protocol "Metadata querying". */
import { u32be, viewOf } from '../../base/fields.ts';
import { metaQueriesMax } from '../limits.ts';
import { decodeText, encodeText } from './text.ts';

/** Request: name length, name, number of queries, then per query its length and text. */
const metaRequest = { nameLength: u32be(0) } as const;
const metaRequestQueries = { count: u32be(0) } as const;
const metaQuery = { length: u32be(0) } as const;
const lengthBytes = 4;

/** NBD_REP_META_CONTEXT data: the context's id, then its name. */
const metaContextReply = { id: u32be(0) } as const;
const metaContextReplyBytes = 4;

/** The contexts, with the ids they have in transmission. A dirty bitmap's name follows its prefix. */
export const allocationContext = 'base:allocation';
export const allocationContextId = 1;
export const dirtyBitmapPrefix = 'qemu:dirty-bitmap:';
export const dirtyBitmapContextId = 2;

export interface MetaRequest {
  readonly name: string;
  readonly queries: readonly string[];
}

/** `malformed`: the lengths do not add up or a text is none. `too-many`: more queries than we look at. */
export function decodeMetaRequest(data: Uint8Array): MetaRequest | 'malformed' | 'too-many' {
  const view = viewOf(data);
  if (data.length < 2 * lengthBytes) return 'malformed';
  const countAt = lengthBytes + metaRequest.nameLength.get(view, 0);
  if (countAt + lengthBytes > data.length) return 'malformed';
  const name = decodeText(data.subarray(lengthBytes, countAt));
  if (name === undefined) return 'malformed';
  const count = metaRequestQueries.count.get(view, countAt);
  const queries: string[] = [];
  let at = countAt + lengthBytes;
  for (let index = 0; index < count; index += 1) {
    if (at + lengthBytes > data.length) return 'malformed';
    const end = at + lengthBytes + metaQuery.length.get(view, at);
    if (end > data.length) return 'malformed';
    const query = decodeText(data.subarray(at + lengthBytes, end));
    if (query === undefined) return 'malformed';
    if (queries.length < metaQueriesMax) queries.push(query);
    at = end;
  }
  if (at !== data.length) return 'malformed';
  return count > metaQueriesMax ? 'too-many' : { name, queries };
}

/** Data of one NBD_REP_META_CONTEXT. */
export function encodeMetaContext(id: number, context: string): Uint8Array {
  const name = encodeText(context);
  const data = new Uint8Array(metaContextReplyBytes + name.length);
  metaContextReply.id.set(viewOf(data), 0, id);
  data.set(name, metaContextReplyBytes);
  return data;
}
