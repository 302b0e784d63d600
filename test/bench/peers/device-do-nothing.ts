// The peer of device.allocate: a device plugin on the same gRPC library and the same messages that does nothing. It gives
// every container the same, as its second argument says.
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { serviceDefinition } from '../../../common/grpc/index.ts';
import { services } from '../../../proto/gen/kubelet.js';

const [, , socketPath = '', grant = '{}'] = process.argv;

type Answer = (error: null, response: object) => void;

const response: object = { containerResponses: [JSON.parse(grant)] };
const server = new Server();
server.addService(serviceDefinition(services['v1beta1.DevicePlugin']), {
  allocate: (_call: unknown, answer: Answer) => answer(null, response),
});
server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (err) => {
  if (err !== null) throw err;
  process.stdout.write('ready\n');
});
