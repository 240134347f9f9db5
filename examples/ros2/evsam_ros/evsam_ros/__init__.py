"""evsam as a ROS 2 node: ``images`` and ``segmenter`` know nothing of ROS, ``node`` connects them to topics."""
