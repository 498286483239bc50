// The AWS SDK for JavaScript v3 as a peer: prints what one operation cost as JSON.
import { GetObjectCommand, PutObjectCommand, S3Client } from "../tests/servers/node/node_modules/@aws-sdk/client-s3/dist-cjs/index.js";

const [url, size, concurrency, count] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const client = new S3Client({
  endpoint: url, region: "us-east-1", forcePathStyle: true,
  credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "example-secret" },
});
const Body = Buffer.alloc(size);
const operations = {
  put: (Key) => client.send(new PutObjectCommand({ Bucket: "bench", Key, Body })),
  get: async (Key) => (await client.send(new GetObjectCommand({ Bucket: "bench", Key }))).Body.transformToByteArray(),
};
const found = {};
for (const [name, run] of Object.entries(operations)) {
  const lanes = (total) => Promise.all(Array.from({ length: concurrency }, async (_, start) => {
    for (let number = start; number < total; number += concurrency) await run(`k${number % 64}`);
  }));
  await lanes(Math.max(64, concurrency));
  const [cpu, wall] = [process.cpuUsage(), performance.now()];
  await lanes(count);
  const used = process.cpuUsage(cpu);
  found[`${name}_cpu`] = (used.user + used.system) / count;
  found[`${name}_wall`] = ((performance.now() - wall) * 1000) / count;
}
console.log(JSON.stringify(found));
client.destroy();

