import protobuf from 'protobufjs';
import type { ServiceSpec } from '../../../../common/grpc/index.ts';

const { root } = protobuf.parse(`
  syntax = "proto3";
  package test;
  message Echo {
    string text = 1; uint64 big = 2; int64 signed = 3; bytes raw = 4; repeated string list = 5;
    map<string, string> labels = 6; Echo inner = 7; oneof choice { string left = 8; uint32 right = 9; }
  }
`);
const echo = root.lookupType('test.Echo');

export type Echo = {
  text: string;
  big: bigint;
  signed: bigint;
  raw: Uint8Array;
  list: string[];
  labels: { [key: string]: string };
  inner: Echo | null;
  left?: string;
  right?: number;
  choice?: 'left' | 'right';
};

type EchoCodec = typeof echo & { readonly __message?: Echo };
const codec: EchoCodec = echo;

export const echoService = {
  say: { kind: 'unary', path: '/test.EchoService/Say', request: codec, response: codec },
  repeat: { kind: 'server-stream', path: '/test.EchoService/Repeat', request: codec, response: codec },
  missing: { kind: 'unary', path: '/test.EchoService/Missing', request: codec, response: codec },
} as const satisfies ServiceSpec;
