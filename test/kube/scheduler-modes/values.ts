const SECOND = { enabled: true, image: 'example.com/kube-scheduler:v1.36.3' };

/** A scheduler of the chart's own beside the cluster's. */
export const SECOND_SCHEDULER = {
  schedulerExtender: { enabled: true },
  schedulerAdmission: { enabled: true },
  scheduler: SECOND,
};

/** The cluster's scheduler asks the extender; a second one does too. */
export const BOTH_SCHEDULERS = {
  schedulerExtender: { enabled: true },
  schedulerAdmission: { enabled: true, schedulers: ['default-scheduler'] },
  scheduler: SECOND,
};

/** Nobody asks: what is known when a pod is made is written into it. */
export const WEBHOOK_ALONE = { schedulerAdmission: { enabled: true } };
