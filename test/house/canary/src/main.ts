// expect knip: unlisted
import { program } from 'commander';
import { usedInProduct } from './base/only-tests.ts';
import { used } from './base/unused-export.ts';

used();
program.parse();
usedInProduct();
