// Holds objects of operators, [{where, object}] on standard input, against the operators' own schemas: types and required
// fields by the validators that were made of them, unknown fields by the compiler and the types that were made of them.
// Beside them, two wrong objects must be refused, or nothing here would mean anything.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const tools = dirname(fileURLToPath(import.meta.url));
const modules = {
    Cluster: "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1/Cluster",
    ServiceMonitor: "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    HTTPRoute: "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute",
    ExternalSecret: "@kubernetes-models/external-secrets/external-secrets.io/v1/ExternalSecret",
    PrometheusRule: "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
};

const faultOf = async ({ object }) => {
    const { [object.kind]: Model } = await import(modules[object.kind]);
    try {
        new Model(object).validate();
        return null;
    } catch (error) {
        return error.message;
    }
};

// What the compiler says of an object written out in full: a field that its type lacks is an error there.
const compile = (given) => {
    const lines = given.flatMap(({ object }, index) => [
        `import type { I${object.kind} as T${index} } from "${modules[object.kind]}";`,
        `export const o${index}: T${index} = ${JSON.stringify(object)};`,
    ]);
    const folder = mkdtempSync(join(tools, "check-"));
    const file = join(folder, "check.ts");
    writeFileSync(file, lines.join("\n"));
    try {
        const options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022"];
        const resolving = ["--module", "nodenext", "--moduleResolution", "nodenext"];
        execFileSync("node", [join(tools, "node_modules/typescript/bin/tsc"), ...options, ...resolving, file], { stdio: "pipe" });
        return [];
    } catch (error) {
        const said = String(error.stdout).split("\n").filter((line) => line.includes("error TS"));
        if (said.length === 0) throw error;
        return said.map((line) => {
            const number = Number(/check\.ts\((\d+),/.exec(line)?.[1]);
            return `${given[(number - 2) / 2]?.where ?? "?"}: ${line.replace(/^.*error /, "")}`;
        });
    } finally {
        rmSync(folder, { recursive: true });
    }
};

const given = JSON.parse(readFileSync(0, "utf8"));
const faults = compile(given);
for (const one of given) {
    const fault = await faultOf(one);
    if (fault) faults.push(`${one.where}: ${fault}`);
}

const cluster = given.find(({ object }) => object.kind === "Cluster");
const changed = (change) => {
    const copy = structuredClone(cluster);
    change(copy.object.spec);
    return copy;
};
if (!(await faultOf(changed((spec) => (spec.instances = "three"))))) faults.push("a wrong type was not noticed");
if (compile([changed((spec) => (spec.postgresql.syncronous = {}))]).length === 0) faults.push("an unknown field was not noticed");

if (faults.length > 0) {
    console.log(faults.join("\n"));
    process.exit(1);
}
