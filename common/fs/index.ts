export { atomicWriteFile, atomicWriteJson, syncFolder } from './atomic-write.ts';
export { PidFile, readPidFile } from './pid-file.ts';
export { identifyProcess, isAlive, type ProcessIdentity } from './process-identity.ts';
export { readJsonFile } from './read-json.ts';
export { systemCode, usingPath } from './usable-path.ts';
