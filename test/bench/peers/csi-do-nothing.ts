// The peer of csi.create-delete: a CSI controller on the same gRPC library and the same messages that does nothing.
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { serviceDefinition } from '../../../common/grpc/index.ts';
import { services } from '../../../proto/gen/services.js';

const [, , socketPath = ''] = process.argv;

type Answer = (error: null, response: object) => void;

const server = new Server();
server.addService(serviceDefinition(services['csi.v1.Controller']), {
  createVolume: (_call: unknown, answer: Answer) => {
    const volume = { volumeId: '0123456789abcdef0123456789abcdef', capacityBytes: 1n << 30n };
    answer(null, { volume });
  },
  deleteVolume: (_call: unknown, answer: Answer) => answer(null, {}),
});
server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (err) => {
  if (err !== null) throw err;
  process.stdout.write('ready\n');
});
