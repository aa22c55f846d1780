// expect rooms: node-module
import fs from 'node:fs';

export const { existsSync } = fs;
