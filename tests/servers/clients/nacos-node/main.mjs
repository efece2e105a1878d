// Registers an instance in Nacos, as Node programs do, until it is told to end.
import { createInterface } from "node:readline";
import nacos from "nacos";

const given = {
  registry: "", name: "shop", ip: "127.0.0.1", port: "", group: "DEFAULT_GROUP", namespace: "public", cluster: "DEFAULT",
  weight: "1", metadata: "", enabled: "true", ephemeral: "true", username: "", password: "",
};
const take = (words) => {
  for (const word of words) {
    const [key, value] = [word.split("=", 1)[0], word.slice(word.indexOf("=") + 1)];
    if (!(key in given) || !word.includes("=")) throw new Error(`unknown: ${word}`);
    given[key] = value;
  }
};
take(process.argv.slice(2));
const quiet = () => {};
const client = new nacos.NacosNamingClient({
  logger: { info: quiet, debug: quiet, warn: console.error, error: console.error },
  serverList: given.registry,
  namespace: given.namespace,
  username: given.username,
  password: given.password,
});
await client.ready();
const instance = () => ({
  ip: given.ip,
  port: Number(given.port),
  weight: Number(given.weight),
  enabled: given.enabled === "true",
  ephemeral: given.ephemeral === "true",
  clusterName: given.cluster,
  metadata: Object.fromEntries(new URLSearchParams(given.metadata)),
});
await client.registerInstance(given.name, instance(), given.group);
console.log("READY");
process.once("SIGTERM", async () => {
  await client.deregisterInstance(given.name, instance(), given.group);
  process.exit(0);
});
for await (const line of createInterface({ input: process.stdin })) {
  take(line.split(" "));
  await client.registerInstance(given.name, instance(), given.group);
  console.log(`DONE ${line}`);
}
