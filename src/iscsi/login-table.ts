/**
 * The login phase as a table: what a Login Request of each kind does in each state. RFC 7143 section 6.3.
 *
 *     first ─┬──────────▶ security ──T──▶ operational ──T──▶ admitting ──▶ over
 *            │               └──────────────T────────────────▲
 *            └──────────────────────────▶ operational
 *
 * A state is where the next request finds us; `security` and `operational` last for as many requests as it takes.
 */
import { type LoginRequest, Stage } from './pdu/login-request.ts';

/** `admitting`: the session registry has been asked, no request may come until it answered. */
export type LoginState = 'first' | 'security' | 'operational' | 'admitting' | 'over';

/** What the bits of a request say: current stage, and the next one it wants to go to. */
export type LoginEvent =
  | 'security'
  | 'securityToOperational'
  | 'securityToFull'
  | 'operational'
  | 'operationalToFull'
  | 'contradiction';

/**
 * negotiate: in the stage that the request names. refuse: initiator error. drop: it does not wait for answers.
 * ignore: it was refused, or has its session.
 */
export type LoginAction = 'negotiate' | 'refuse' | 'drop' | 'ignore';

type Row = Readonly<Record<LoginEvent, LoginAction>>;

function sameForAll(action: LoginAction): Row {
  return {
    security: action,
    securityToOperational: action,
    securityToFull: action,
    operational: action,
    operationalToFull: action,
    contradiction: action,
  };
}

export const loginTable: Readonly<Record<LoginState, Row>> = {
  first: {
    security: 'negotiate',
    securityToOperational: 'negotiate',
    securityToFull: 'negotiate',
    operational: 'negotiate',
    operationalToFull: 'negotiate',
    contradiction: 'refuse',
  },
  security: {
    security: 'negotiate',
    securityToOperational: 'negotiate',
    securityToFull: 'negotiate',
    // We have not agreed to go on.
    operational: 'refuse',
    operationalToFull: 'refuse',
    contradiction: 'refuse',
  },
  operational: {
    // There is no way back.
    security: 'refuse',
    securityToOperational: 'refuse',
    securityToFull: 'refuse',
    operational: 'negotiate',
    operationalToFull: 'negotiate',
    contradiction: 'refuse',
  },
  admitting: sameForAll('drop'),
  over: sameForAll('ignore'),
};

/** Sorts a request by its bits. Without T the next stage is reserved and not looked at. */
export function loginEventOf(request: LoginRequest): LoginEvent {
  const { isTransit, isContinued, currentStage, nextStage } = request;
  // A text that goes on cannot be ready for the next stage.
  if (isTransit && isContinued) return 'contradiction';
  if (currentStage === Stage.security) {
    if (!isTransit) return 'security';
    if (nextStage === Stage.operational) return 'securityToOperational';
    return nextStage === Stage.fullFeature ? 'securityToFull' : 'contradiction';
  }
  if (currentStage !== Stage.operational) return 'contradiction';
  if (!isTransit) return 'operational';
  return nextStage === Stage.fullFeature ? 'operationalToFull' : 'contradiction';
}
