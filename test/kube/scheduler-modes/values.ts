const image = 'example.com/kube-scheduler:v1.36.3';

/** A scheduler of the chart's own beside the cluster's, to which pods of ours are sent. */
export const SECOND_SCHEDULER = {
  schedulerExtender: { enabled: true },
  schedulerAdmission: { enabled: true, sendTo: 'nabustore' },
  scheduler: { enabled: true, image },
};

/** The cluster's scheduler asks, with a profile for pods of ours; a second one does too, for those that name it. */
export const BOTH_SCHEDULERS = {
  schedulerExtender: { enabled: true },
  schedulerAdmission: { enabled: true, schedulers: ['default-scheduler'], sendTo: 'nabustore' },
  scheduler: { enabled: true, image, name: 'second' },
};

/** Nobody asks: what is known when a pod is made is written into it. */
export const WEBHOOK_ALONE = { schedulerAdmission: { enabled: true } };
