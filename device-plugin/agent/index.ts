export { type AgentOptions, DevicePluginAgent } from './agent.ts';
