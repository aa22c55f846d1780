/**
 * Text negotiation in full feature phase, RFC 7143 sections 7.4, 11.10 and 11.11: one exchange at a time.
 *
 *     request C=1 ─▶ empty response, F=0, tag        the question comes in pieces
 *     request     ─▶ response C=1, F=0, tag          the answer goes in pieces, each fetched by an empty request with the tag
 *     request     ─▶ response F=1, no tag            over
 *     request F=0 ─▶ response F=0, tag               the initiator has more to say
 *
 * A request without tag begins anew, whatever went before.
 */
import { type SendTargetsAsker, sendTargets, sendTargetsKey } from './discovery.ts';
import type { IscsiHosts } from './hosts.ts';
import { TextCollector, type TextPair, TextSender } from './keys.ts';
import { negotiate } from './negotiation.ts';
import type { SessionParameters } from './parameters.ts';
import { noTag } from './pdu/header.ts';
import type { TextRequest } from './pdu/text-request.ts';

export interface TextAnswer {
  readonly isFinal: boolean;
  readonly isContinued: boolean;
  /** `noTag` when final. */
  readonly targetTransferTag: number;
  /** Without padding; valid until the next request is given. */
  readonly data: Uint8Array;
}

export interface TextExchangeOptions {
  readonly asker: SendTargetsAsker;
  readonly hosts: IscsiHosts;
  /** Of the session; a new MaxRecvDataSegmentLength of the initiator is put here. */
  readonly parameters: SessionParameters;
}

export class TextExchange {
  readonly #options: TextExchangeOptions;
  readonly #collector = new TextCollector();
  readonly #sender = new TextSender();
  readonly #keys = new Set<string>();
  /** Tag of the exchange that goes on; `noTag` when none does. */
  #tag = noTag;
  #lastTag = 0;
  #initiatorTaskTag = noTag;

  constructor(options: TextExchangeOptions) {
    this.#options = options;
  }

  /**
   * The answer to a Text Request with its data segment (valid during the call), or a reason to reject it as a protocol
   * error; then the exchange is over, too.
   */
  onRequest(request: TextRequest, data: Uint8Array): TextAnswer | string {
    const problem = this.#continueOrBegin(request) ?? this.#take(request, data);
    if (problem === undefined) return this.#answer(request);
    this.#reset();
    return problem;
  }

  #continueOrBegin(request: TextRequest): string | undefined {
    if (request.targetTransferTag === noTag) {
      this.#reset();
      this.#initiatorTaskTag = request.initiatorTaskTag;
      return undefined;
    }
    const isKnown =
      request.targetTransferTag === this.#tag &&
      request.initiatorTaskTag === this.#initiatorTaskTag;
    return isKnown ? undefined : 'a target transfer tag of no exchange';
  }

  #take(request: TextRequest, data: Uint8Array): string | undefined {
    if (this.#sender.isOpen) {
      const isEmpty = data.length === 0 && !request.isContinued;
      return isEmpty ? undefined : 'text before the rest of the answer was fetched';
    }
    const pairs = this.#collector.add(data, request.isContinued);
    if (pairs === undefined) return undefined;
    if ('problem' in pairs) return pairs.problem;
    for (const { key } of pairs) {
      if (this.#keys.has(key)) return `${key} came twice`;
      this.#keys.add(key);
    }
    this.#sender.put(this.#answerPairs(pairs));
    return undefined;
  }

  #answerPairs(pairs: readonly TextPair[]): TextPair[] {
    const { asker, hosts, parameters } = this.#options;
    const isDiscovery = asker.targetName === '';
    const context = { parameters, isDiscovery, isFullFeature: true };
    return pairs.flatMap((pair) =>
      pair.key === sendTargetsKey
        ? sendTargets(pair.value, asker, hosts)
        : negotiate([pair], context),
    );
  }

  #answer(request: TextRequest): TextAnswer {
    const data = this.#sender.take(this.#options.parameters.initiatorMaxRecvDataSegmentLength);
    const isContinued = this.#sender.isOpen;
    const isFinal = request.isFinal && !isContinued;
    if (isFinal) {
      this.#tag = noTag;
      this.#keys.clear();
    } else if (this.#tag === noTag) this.#tag = this.#nextTag();
    return { isFinal, isContinued, targetTransferTag: this.#tag, data };
  }

  /** Never `noTag`. */
  #nextTag(): number {
    this.#lastTag = (this.#lastTag % (noTag - 1)) + 1;
    return this.#lastTag;
  }

  #reset(): void {
    this.#collector.reset();
    this.#sender.reset();
    this.#keys.clear();
    this.#tag = noTag;
  }
}
