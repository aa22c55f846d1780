import { usedOnlyByItsTest } from '../src/base/only-tests.ts';

usedOnlyByItsTest();
