/** Entry of the command line. */
import { systemClock } from '../host/clock.ts';
import { systemCommands } from '../host/command.ts';
import { exitOnClosedPipe, systemTerminal } from '../host/terminal.ts';
import { systemTimers } from '../host/timers.ts';
import { runCommandLine } from './program.ts';

exitOnClosedPipe();
process.exitCode = await runCommandLine(
  { argv: process.argv.slice(2), dataVariable: process.env['TIDEMARK_DATA'] },
  { terminal: systemTerminal, clock: systemClock, timers: systemTimers, commands: systemCommands },
);
