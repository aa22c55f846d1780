// expect biome: assist/source/organizeImports
import { inspect } from 'node:util';
import { createHash } from 'node:crypto';

export const both = [inspect, createHash];
