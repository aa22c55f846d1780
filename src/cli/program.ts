/** The whole command line, built over whatever terminal and clock it is given. */
import { Command, CommanderError } from 'commander';
import { addBisectCommand } from './bisect.ts';
import { type GlobalOptions, Session, type SessionHost } from './command-session.ts';
import { addDiffCommand } from './diff.ts';
import { CommandFailure, ExitCode, failureText } from './failure.ts';
import { addHostCommands } from './host.ts';
import { addLunCommands } from './lun.ts';
import { addPoolCommands } from './pool.ts';
import { addPortalCommands } from './portal.ts';
import { addSessionCommands } from './session.ts';
import { addSnapshotCommands } from './snapshot.ts';
import { addSpaceCommand } from './space.ts';
import { addTlsCommands } from './tls.ts';
import { addViewCommands } from './view.ts';
import { addVolumeCommands } from './volume.ts';

export interface CommandLine {
  /** Arguments after the program's name. */
  readonly argv: readonly string[];
  /** Value of TIDEMARK_DATA. */
  readonly dataVariable: string | undefined;
}

/** Runs one command line; resolves to the exit code. What is not a failure of the command is thrown. */
export async function runCommandLine(line: CommandLine, host: SessionHost): Promise<ExitCode> {
  const program = buildProgram(line, host);
  try {
    await program.parseAsync([...line.argv], { from: 'user' });
    return ExitCode.ok;
  } catch (thrown) {
    if (thrown instanceof CommanderError)
      return thrown.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    if (!(thrown instanceof CommandFailure)) throw thrown;
    const { json } = program.opts<{ json?: boolean }>();
    host.terminal.error(failureText(thrown, json === true));
    return thrown.exitCode;
  }
}

/** Every command with its options, ready to parse. */
function buildProgram(line: CommandLine, host: SessionHost): Command {
  const { terminal } = host;
  const program = new Command('tidemark');
  program
    .description('Runs a tidemark storage appliance. Sizes are binary: 20G means 20 GiB.')
    .option(
      '--data <dir>',
      'data folder of the daemon [TIDEMARK_DATA]',
      line.dataVariable ?? './var',
    )
    .option('--json', "print the API's JSON")
    .showSuggestionAfterError()
    .showHelpAfterError('hint: tidemark --help shows the commands')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        terminal.out(text);
      },
      writeErr: (text) => {
        terminal.error(text.replace(/^error: /, 'tidemark: '));
      },
    })
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon answers.');
  const session = (): Session => {
    const { data, json } = program.opts<Partial<GlobalOptions>>();
    return new Session({ data: data ?? './var', json: json === true }, host);
  };
  addPoolCommands(program, session);
  addVolumeCommands(program, session);
  addSnapshotCommands(program, session);
  addViewCommands(program, session);
  addSpaceCommand(program, session);
  addDiffCommand(program, session);
  addBisectCommand(program, session);
  addHostCommands(program, session);
  addLunCommands(program, session);
  addSessionCommands(program, session);
  addPortalCommands(program, session);
  addTlsCommands(program, session);
  return program;
}
