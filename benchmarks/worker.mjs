// The AWS SDK for JavaScript v3 as a peer: prints microseconds of CPU for one operation as JSON.
import { GetObjectCommand, PutObjectCommand, S3Client } from "../tests/servers/node/node_modules/@aws-sdk/client-s3/dist-cjs/index.js";

const [endpoint, size, count, atOnce] = JSON.parse(process.argv[2]);
const Body = Buffer.alloc(size, 7);
const found = {};
for (const number of atOnce) {
  const client = new S3Client({
    endpoint, region: "us-east-1", forcePathStyle: true,
    credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "example-secret" },
    requestHandler: { httpAgent: { maxSockets: 256 }, httpsAgent: { maxSockets: 256 } },
  });
  const operations = {
    put: (Key) => client.send(new PutObjectCommand({ Bucket: "bench", Key, Body })),
    get: async (Key) => {
      const found = await (await client.send(new GetObjectCommand({ Bucket: "bench", Key }))).Body.transformToByteArray();
      if (!Body.equals(found)) throw new Error("other bytes");
    },
  };
  for (const [name, run] of Object.entries(operations)) {
    const lanes = (total) => Promise.all(Array.from({ length: number }, async (_, start) => {
      for (let each = start; each < total; each += number) await run(`k${each % 64}`);
    }));
    await lanes(Math.max(64, number));
    const cpu = process.cpuUsage();
    await lanes(count);
    const used = process.cpuUsage(cpu);
    found[`${name} ${number}`] = (used.user + used.system) / count;
  }
  client.destroy();
}
console.log(JSON.stringify(found));
