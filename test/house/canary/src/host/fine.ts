import fs from 'node:fs';

export const { statSync } = fs;
