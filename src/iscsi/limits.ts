/** Every bound of the iSCSI room. What an initiator can make the target hold or wait for is limited by one of these. */

const kibibyte = 1024;
const mebibyte = 1 << 20;

// ---- login and text

/** From accept to full feature phase. Initiators give up after 5 s (ESX) to 15 s (Linux). */
export const loginMs = 15_000;
/** Longest data segment of a PDU in the login phase, either way: the standard's default, which holds until both know better. */
export const loginSegmentMaxBytes = 8 * kibibyte;
/** Text of one negotiation, over all PDUs that the C bit joins. */
export const textMaxBytes = 64 * kibibyte;
/** Keys of one such text: each can cost an answer that is longer than itself. */
export const textKeysMax = 256;
/** Keys in one login, over all its PDUs. */
export const loginKeysMax = 512;
/** Key name, RFC 7143 section 6.1. */
export const keyNameMaxBytes = 63;
/** Value of a key that is no large binary, same section. */
export const keyValueMaxBytes = 255;
/** iSCSI name, section 4.2.7.1. */
export const iscsiNameMaxBytes = 223;
/** Values of one list. */
export const listValuesMax = 32;
/** PDUs of one login: no sound initiator needs more than a dozen. */
export const loginPdusMax = 64;
/** Large binary values of CHAP, section 12.1.3. */
export const chapBinaryMaxBytes = 1024;

// ---- what we negotiate

/** Longest data segment that we take: header and turn overhead are small against it, and it still streams. */
export const receiveSegmentMaxBytes = 256 * kibibyte;
/** Solicited data of one R2T, and of one Data-In sequence. */
export const burstMaxBytes = mebibyte;
/** Unsolicited data of one command. */
export const firstBurstMaxBytes = 256 * kibibyte;
export const outstandingR2tMax = 1;
/** Seconds an initiator waits before it comes back after a connection was lost. */
export const time2WaitSeconds = 2;
