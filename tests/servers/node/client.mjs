// The AWS SDK for JavaScript v3 and fetch(), driven by one JSON command a line; answers likewise.
import { createInterface } from "node:readline";
import {
  CopyObjectCommand, DeleteObjectCommand, GetObjectCommand, GetObjectTaggingCommand, HeadObjectCommand,
  ListObjectsV2Command, PutObjectCommand, S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const bytes = (text) => Buffer.from(text, "base64");
let client;

const actions = {
  async connect({ endpoint, accessKeyId, secretAccessKey }) {
    client = new S3Client({
      endpoint, region: "us-east-1", forcePathStyle: true, credentials: { accessKeyId, secretAccessKey },
    });
    return {};
  },
  async put({ input, body }) {
    const { ETag } = await client.send(new PutObjectCommand({ ...input, Body: bytes(body) }));
    return { etag: ETag };
  },
  async upload({ input, size, partSize }) {
    const Body = Buffer.alloc(size, "multipart");
    await new Upload({ client, params: { ...input, Body }, partSize }).done();
    return {};
  },
  async get({ input }) {
    const answer = await client.send(new GetObjectCommand(input));
    const body = base64(await answer.Body.transformToByteArray());
    const { Metadata, ContentType, ContentEncoding, CacheControl, ETag } = answer;
    return { body, Metadata, ContentType, ContentEncoding, CacheControl, ETag };
  },
  async head({ input }) {
    const { Metadata, ContentType, ContentEncoding, ContentLength } = await client.send(
      new HeadObjectCommand(input));
    return { Metadata, ContentType, ContentEncoding, ContentLength };
  },
  async tags({ input }) {
    return { tags: (await client.send(new GetObjectTaggingCommand(input))).TagSet };
  },
  async copy({ input }) {
    await client.send(new CopyObjectCommand(input));
    return {};
  },
  async remove({ input }) {
    await client.send(new DeleteObjectCommand(input));
    return {};
  },
  async list({ input }) {
    return { keys: ((await client.send(new ListObjectsV2Command(input))).Contents ?? []).map((o) => o.Key) };
  },
  async fetch({ url, method, headers, body }) {
    const answer = await fetch(url, { method, headers, body: body === undefined ? undefined : bytes(body) });
    return {
      status: answer.status,
      headers: Object.fromEntries(answer.headers),
      body: base64(new Uint8Array(await answer.arrayBuffer())),
    };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { action, ...given } = JSON.parse(line);
    answer = await actions[action](given);
  } catch (error) {
    answer = { error: error.name, message: String(error.message) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
