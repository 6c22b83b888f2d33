// The command line both scripts share: a verb, --name value options, and what is left, in order.

/** Reads `verb [--name value]… rest…`. */
export function read(argv) {
  const [verb, ...words] = argv;
  const options = {};
  const rest = [];
  while (words.length > 0) {
    const word = words.shift();
    if (word.startsWith("--")) {
      if (words.length === 0) throw new Error(`the option ${word} needs a value`);
      options[word.slice(2)] = words.shift();
    } else {
      rest.push(word);
    }
  }
  return { verb, options, rest };
}

/** Runs the verb and prints its result as JSON; a failure is told on stderr and in the exit code. */
export async function run(verbs, argv = process.argv.slice(2)) {
  try {
    const { verb, options, rest } = read(argv);
    const work = verbs[verb];
    if (!work) throw new Error(`unknown verb ${verb}; there are ${Object.keys(verbs).join(", ")}`);
    if (!options.url) throw new Error("the option --url is required: the address of the sandbox");
    const result = await work(options, ...rest);
    process.stdout.write(`${JSON.stringify(result ?? null)}\n`);
  } catch (error) {
    const body = error.body ? ` ${JSON.stringify(error.body)}` : "";
    process.stderr.write(`${error.errorCode ?? error.code ?? error.name}: ${error.message}${body}\n`);
    process.exitCode = 1;
  }
}
