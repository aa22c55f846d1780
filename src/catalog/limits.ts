/** Maxima of what an operator may declare; the engine takes as much in one request. */

/** Numbers that fit SCSI's flat addressing (SAM-5 section 4.7.7.3). */
export const LUN_MAX = 16_383;
export const HOSTS_MAX = 1024;
/** Of all hosts together. */
export const INITIATORS_MAX = 4096;
export const LUN_MAPS_MAX = 16_384;
/** Besides the one that the daemon's settings name. */
export const PORTALS_MAX = 31;
